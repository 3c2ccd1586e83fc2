//! Fetches one file over HTTP: resumed, checked, and put into place at once.
//!
//! `ureq` with rustls and ring, without compression: 14 s of a 2-core release build. native-tls would need
//! OpenSSL's headers on the user's machine; an async client brings a runtime for one request.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use fs_err::{File, OpenOptions};
use ureq::http::{HeaderMap, Response, StatusCode};
use ureq::{Agent, Body};

use super::cache::{Source, check_hash};
use super::error::WeightsError;
use super::pretrained::Pretrained;

/// How often a download goes on after an error without having received anything in between.
const MOST_FRUITLESS_ATTEMPTS: usize = 3;
/// The largest published file has about 0.5 GB.
const MOST_BYTES: u64 = 4 << 30;

type Progress<'a> = &'a mut dyn FnMut(u64, Option<u64>);

/// Downloads `weights` to `place`, by way of `place.part` beside it.
pub(super) fn download(
    weights: &Pretrained,
    place: &Path,
    source: &Source,
    progress: Progress<'_>,
) -> Result<(), WeightsError> {
    if let Some(folder) = place.parent() {
        fs_err::create_dir_all(folder)?;
    }
    // Held until the end, so that no two callers write to the same partial file.
    let lock = File::create(with_suffix(place, ".lock"))?;
    lock.lock()?;
    if place.exists() {
        return check_hash(place, weights);
    }
    let partial = with_suffix(place, ".part");
    // It may be complete, if an earlier call was killed before its last step.
    if partial.exists() && check_hash(&partial, weights).is_ok() {
        return Ok(fs_err::rename(&partial, place)?);
    }
    fetch(&source.url(weights.file), &partial, place, source, progress)?;
    if let Err(error) = check_hash(&partial, weights) {
        fs_err::remove_file(&partial)?;
        return Err(error);
    }
    Ok(fs_err::rename(&partial, place)?)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Completes the partial file, in as many requests as it takes.
fn fetch(
    url: &str,
    partial: &Path,
    place: &Path,
    source: &Source,
    progress: Progress<'_>,
) -> Result<(), WeightsError> {
    let agent = agent(source);
    let mut file = OpenOptions::new().append(true).read(true).create(true).open(partial)?;
    let mut fruitless = 0;
    loop {
        let before = file.metadata()?.len();
        let cause = match attempt(&agent, url, &mut file, progress) {
            Ok(()) => return Ok(file.sync_all()?),
            Err(Failure::Write(error)) => {
                return Err(WeightsError::Write { path: partial.to_owned(), source: error });
            }
            Err(Failure::Fetch(cause)) => cause,
        };
        fruitless = if file.metadata()?.len() > before { 0 } else { fruitless + 1 };
        if fruitless == MOST_FRUITLESS_ATTEMPTS || is_final(&cause) {
            return Err(WeightsError::Download { url: url.to_owned(), place: place.to_owned(), cause });
        }
    }
}

fn agent(source: &Source) -> Agent {
    let timeout = Some(source.timeout);
    let config = Agent::config_builder()
        .timeout_connect(timeout)
        .timeout_recv_response(timeout)
        .timeout_per_read(timeout)
        .http_status_as_error(false)
        .user_agent(concat!("elimnet/", env!("CARGO_PKG_VERSION")));
    config.build().into()
}

/// Why a download did not come to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DownloadError {
    /// There is no connection, or it failed.
    #[error("{0}")]
    Connection(#[source] Box<ureq::Error>),
    /// The connection ended before the file did.
    #[error("the connection was cut after {received} bytes: {reason}")]
    Cut {
        /// Bytes received so far; they are kept for the next attempt.
        received: u64,
        /// What the connection said.
        reason: io::Error,
    },
    /// The server answered with something else than the file.
    #[error("the server answered {status}")]
    Status {
        /// The HTTP status.
        status: u16,
    },
    /// The server sends more than any published file has.
    #[error("the server sends more than {limit} bytes")]
    TooLong {
        /// The most that is accepted.
        limit: u64,
    },
}

enum Failure {
    Fetch(DownloadError),
    Write(io::Error),
}

impl From<DownloadError> for Failure {
    fn from(error: DownloadError) -> Self {
        Self::Fetch(error)
    }
}

/// Whether another attempt would end the same way.
fn is_final(cause: &DownloadError) -> bool {
    match cause {
        DownloadError::Status { status } => (400..500).contains(status) && *status != 416,
        DownloadError::TooLong { .. } => true,
        DownloadError::Connection(_) | DownloadError::Cut { .. } => false,
    }
}

/// Requests what is missing of the file and appends it.
fn attempt(agent: &Agent, url: &str, file: &mut File, progress: Progress<'_>) -> Result<(), Failure> {
    let have = file.seek(SeekFrom::End(0)).map_err(Failure::Write)?;
    let mut request = agent.get(url).header("Accept-Encoding", "identity");
    if have > 0 {
        request = request.header("Range", format!("bytes={have}-"));
    }
    let response = request.call().map_err(|error| DownloadError::Connection(Box::new(error)))?;
    let start = match response.status() {
        StatusCode::OK => 0,
        StatusCode::PARTIAL_CONTENT if range_start(response.headers()) == Some(have) => have,
        // The server has not the bytes that should follow ours, so ours are not of this file.
        StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE if have > 0 => {
            file.set_len(0).map_err(Failure::Write)?;
            return Err(DownloadError::Status { status: 416 }.into());
        }
        status => return Err(DownloadError::Status { status: status.as_u16() }.into()),
    };
    if start < have {
        file.set_len(start).map_err(Failure::Write)?;
    }
    receive(response, file, start, progress)
}

/// The first byte of the part that the server sends: 7 in `bytes 7-99/100`.
fn range_start(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get("Content-Range")?.to_str().ok()?.strip_prefix("bytes ")?;
    range.split_once('-')?.0.parse().ok()
}

fn receive(
    response: Response<Body>,
    file: &mut File,
    start: u64,
    progress: Progress<'_>,
) -> Result<(), Failure> {
    let total = response.body().content_length().and_then(|length| start.checked_add(length));
    let mut body = response.into_body().into_reader();
    let mut received = start;
    let mut block = vec![0; 1 << 16];
    progress(received, total);
    loop {
        let count = match body.read(&mut block) {
            Ok(0) if total.is_none_or(|total| received >= total) => return Ok(()),
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => Ok(count),
            Err(error) => Err(error),
        };
        let count = count.map_err(|reason| DownloadError::Cut { received, reason })?;
        received += count as u64;
        if received > MOST_BYTES {
            return Err(DownloadError::TooLong { limit: MOST_BYTES }.into());
        }
        file.write_all(&block[..count]).map_err(Failure::Write)?;
        progress(received, total);
    }
}
