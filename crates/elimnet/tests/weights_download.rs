//! Fetching weights from a small HTTP server on this machine that misbehaves as told.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use elimnet::weights::{
    DownloadError, Pretrained, Source, WeightsError, locate_or_download, locate_or_download_weights,
};

const FILE: &str = "tiny-4b842fb9.pth";
const TINY: Pretrained = Pretrained::imagenet("tiny", FILE);
const LENGTH: usize = 300_000;

/// What the server has; its SHA-256 begins with the digits in `FILE` (computed with Python's hashlib).
fn content() -> Vec<u8> {
    (0..LENGTH).map(|index| (index * 31 % 251) as u8).collect()
}

/// How the server answers one request.
#[derive(Clone, Copy)]
enum Answer {
    /// As it should, from the byte that the request asks for.
    File,
    /// The whole file, whatever the request asks for.
    IgnoreRange,
    /// A range that begins at the wrong byte.
    WrongRange,
    /// Hangs up after some bytes of the body.
    CutAfter(usize),
    /// Other bytes than the file's.
    OtherBytes,
    /// Only a status.
    Status(&'static str),
    /// Some bytes of the body, then silence.
    Stall(usize),
}

/// A server that gives each request the next answer, and the last answer from then on.
struct Server {
    source: Source,
    /// The `Range` header of each request.
    ranges: Arc<Mutex<Vec<Option<String>>>>,
}

impl Server {
    fn start(answers: &[Answer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base_url = format!("http://{}/models", listener.local_addr().unwrap());
        let ranges = Arc::new(Mutex::new(Vec::new()));
        let (answers, seen) = (answers.to_vec(), Arc::clone(&ranges));
        thread::spawn(move || {
            for (index, stream) in listener.incoming().enumerate() {
                let answer = answers[index.min(answers.len() - 1)];
                let seen = Arc::clone(&seen);
                thread::spawn(move || serve(stream.unwrap(), answer, &seen));
            }
        });
        let source = Source { base_url, folders: Vec::new(), timeout: Duration::from_millis(500) };
        Self { source, ranges }
    }

    fn fetch(&self, cache: &Path) -> Result<PathBuf, WeightsError> {
        locate_or_download_weights(&TINY, cache, &self.source, &mut |_, _| ())
    }

    fn ranges(&self) -> Vec<Option<String>> {
        self.ranges.lock().unwrap().clone()
    }
}

fn serve(mut stream: TcpStream, answer: Answer, seen: &Mutex<Vec<Option<String>>>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().unwrap(), format!("GET /models/{FILE} HTTP/1.1"));
    let headers: Vec<String> =
        lines.take_while(|line| !line.is_empty()).map(|line| line.to_lowercase()).collect();
    let range = headers.iter().find_map(|line| line.strip_prefix("range: ")).map(str::to_owned);
    let start = range.as_deref().map_or(0, |range| {
        range.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap().parse::<usize>().unwrap()
    });
    seen.lock().unwrap().push(range);
    // The client may hang up at any time.
    let _ = respond(&mut stream, answer, start);
}

fn respond(stream: &mut TcpStream, answer: Answer, start: usize) -> std::io::Result<()> {
    let content = content();
    let start = if matches!(answer, Answer::IgnoreRange) { 0 } else { start };
    match answer {
        Answer::Status(status) => return write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"),
        _ if start >= LENGTH => {
            return write!(stream, "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\n\r\n");
        }
        Answer::WrongRange if start > 0 => {
            write!(stream, "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 5-9/{LENGTH}\r\n")?;
        }
        _ if start > 0 => {
            write!(
                stream,
                "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {start}-{}/{LENGTH}\r\n",
                LENGTH - 1
            )?;
        }
        _ => write!(stream, "HTTP/1.1 200 OK\r\n")?,
    }
    write!(stream, "Content-Length: {}\r\n\r\n", LENGTH - start)?;
    match answer {
        Answer::CutAfter(count) => stream.write_all(&content[start..][..count]),
        Answer::OtherBytes => stream.write_all(&vec![7; LENGTH - start]),
        Answer::Stall(count) => {
            stream.write_all(&content[start..][..count])?;
            thread::sleep(Duration::from_secs(20));
            Ok(())
        }
        _ => stream.write_all(&content[start..]),
    }
}

fn cache() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn assert_complete(path: &Path, cache: &Path) {
    assert_eq!(path, cache.join(FILE));
    assert!(std::fs::read(path).unwrap() == content(), "the file has other bytes than the server");
    assert!(!partial(cache).exists());
}

fn partial(cache: &Path) -> PathBuf {
    cache.join(format!("{FILE}.part"))
}

#[test]
fn a_file_is_fetched_once_with_its_progress() {
    let (server, cache) = (Server::start(&[Answer::File]), cache());
    let mut seen = Vec::new();
    let folder = cache.path().join("made/when/needed");
    let mut progress = |done, total| seen.push((done, total));
    let path = locate_or_download_weights(&TINY, &folder, &server.source, &mut progress).unwrap();
    assert_complete(&path, &folder);
    assert_eq!(seen.first(), Some(&(0, Some(LENGTH as u64))));
    assert_eq!(seen.last(), Some(&(LENGTH as u64, Some(LENGTH as u64))));
    assert!(seen.is_sorted());
    server.fetch(&folder).unwrap();
    assert_eq!(server.ranges(), [None], "the second call finds it");
}

#[test]
fn a_cut_connection_is_resumed_where_it_was_cut() {
    let (server, cache) =
        (Server::start(&[Answer::CutAfter(100_000), Answer::CutAfter(50_000), Answer::File]), cache());
    assert_complete(&server.fetch(cache.path()).unwrap(), cache.path());
    let asked = server.ranges();
    assert_eq!(asked, [None, Some("bytes=100000-".to_owned()), Some("bytes=150000-".to_owned())]);
}

#[test]
fn a_later_call_resumes_what_an_earlier_one_left() {
    let (server, cache) = (Server::start(&[Answer::File]), cache());
    std::fs::write(partial(cache.path()), &content()[..123_456]).unwrap();
    assert_complete(&server.fetch(cache.path()).unwrap(), cache.path());
    assert_eq!(server.ranges(), [Some("bytes=123456-".to_owned())]);
}

#[test]
fn a_server_without_ranges_starts_from_zero() {
    for answer in [Answer::IgnoreRange, Answer::WrongRange] {
        let (server, cache) = (Server::start(&[answer]), cache());
        std::fs::write(partial(cache.path()), [9; 1000]).unwrap();
        assert_complete(&server.fetch(cache.path()).unwrap(), cache.path());
    }
}

#[test]
fn a_partial_file_that_is_too_long_starts_from_zero() {
    let (server, cache) = (Server::start(&[Answer::File]), cache());
    std::fs::write(partial(cache.path()), vec![9; LENGTH + 1]).unwrap();
    assert_complete(&server.fetch(cache.path()).unwrap(), cache.path());
}

#[test]
fn a_partial_file_that_is_complete_needs_no_request() {
    let (server, cache) = (Server::start(&[Answer::Status("500 Broken")]), cache());
    std::fs::write(partial(cache.path()), content()).unwrap();
    assert_complete(&server.fetch(cache.path()).unwrap(), cache.path());
    assert!(server.ranges().is_empty());
}

#[test]
fn a_wrong_hash_names_both_and_leaves_nothing() {
    let (server, cache) = (Server::start(&[Answer::OtherBytes]), cache());
    let error = server.fetch(cache.path()).unwrap_err();
    match &error {
        WeightsError::WrongHash { expected, found, .. } => {
            assert_eq!(expected, "4b842fb9");
            assert_eq!(found.len(), 64);
            assert!(
                error.to_string().contains(found.as_str()) && error.to_string().contains(expected.as_str())
            );
        }
        other => panic!("{other:?}"),
    }
    assert!(error.hint().unwrap().contains("it was removed"));
    assert!(!partial(cache.path()).exists() && !cache.path().join(FILE).exists());
}

#[test]
fn a_damaged_file_in_the_cache_is_an_error_not_a_new_download() {
    let (server, cache) = (Server::start(&[Answer::File]), cache());
    std::fs::write(cache.path().join(FILE), "damaged").unwrap();
    let error = server.fetch(cache.path()).unwrap_err();
    assert!(matches!(error, WeightsError::WrongHash { .. }));
    assert!(error.hint().unwrap().starts_with("remove "), "the file may be the user's");
    assert!(server.ranges().is_empty());
}

#[test]
fn a_file_in_another_folder_is_used_if_it_is_the_right_one() {
    let (mut server, cache, torch) = (Server::start(&[Answer::File]), cache(), cache());
    server.source.folders = vec![torch.path().to_owned()];
    std::fs::write(torch.path().join(FILE), content()).unwrap();
    assert_eq!(server.fetch(cache.path()).unwrap(), torch.path().join(FILE));
    assert!(server.ranges().is_empty());

    std::fs::write(torch.path().join(FILE), "damaged").unwrap();
    assert_complete(&server.fetch(cache.path()).unwrap(), cache.path());
}

#[test]
fn a_missing_file_says_so_at_once() {
    let (server, cache) = (Server::start(&[Answer::Status("404 Not Found")]), cache());
    let error = server.fetch(cache.path()).unwrap_err();
    assert!(matches!(error, WeightsError::Download { cause: DownloadError::Status { status: 404 }, .. }));
    assert_eq!(server.ranges().len(), 1, "asking again would not help");
}

#[test]
fn a_server_that_recovers_is_asked_again() {
    let (server, cache) = (Server::start(&[Answer::Status("503 Busy"), Answer::File]), cache());
    assert_complete(&server.fetch(cache.path()).unwrap(), cache.path());
}

#[test]
fn a_server_that_always_cuts_is_given_up_and_what_came_is_kept() {
    let (server, cache) = (Server::start(&[Answer::CutAfter(1000), Answer::CutAfter(0)]), cache());
    let error = server.fetch(cache.path()).unwrap_err();
    assert!(
        matches!(error, WeightsError::Download { cause: DownloadError::Cut { received: 1000, .. }, .. }),
        "{error:?}"
    );
    assert_eq!(std::fs::read(partial(cache.path())).unwrap(), content()[..1000]);
}

#[test]
fn a_server_that_falls_silent_is_not_waited_for() {
    let (server, cache) = (Server::start(&[Answer::Stall(1000), Answer::Stall(0)]), cache());
    let start = Instant::now();
    let error = server.fetch(cache.path()).unwrap_err();
    assert!(matches!(error, WeightsError::Download { .. }));
    assert!(start.elapsed() < Duration::from_secs(15), "took {:?}", start.elapsed());
}

#[test]
fn callers_at_the_same_time_fetch_it_once() {
    let (server, cache) = (Server::start(&[Answer::File]), cache());
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_complete(&server.fetch(cache.path()).unwrap(), cache.path()));
        }
    });
    assert_eq!(server.ranges().len(), 1);
}

#[test]
fn without_a_network_the_hint_says_what_to_put_where() {
    let cache = cache();
    // A port that was free a moment ago: nobody listens there.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let base_url = format!("http://127.0.0.1:{port}/");
    let source = Source { base_url, folders: Vec::new(), timeout: Duration::from_secs(1) };
    let error = locate_or_download("resnet18", cache.path(), &source, &mut |_, _| ()).unwrap_err();
    let url = format!("http://127.0.0.1:{port}/resnet18-f37072fd.pth");
    assert_eq!(error.to_string(), format!("cannot fetch {url}"));
    let hint = error.hint().unwrap();
    assert!(hint.contains(&url), "{hint}");
    assert!(hint.contains(&cache.path().join("resnet18-f37072fd.pth").display().to_string()), "{hint}");
}

#[test]
fn a_network_without_weights_lists_those_that_have_some() {
    let source = Source::from_environment();
    let error = locate_or_download("resnet19", "unused", &source, &mut |_, _| ()).unwrap_err();
    assert_eq!(error.to_string(), "there are no pretrained weights for `resnet19`");
    assert!(error.hint().unwrap().contains("resnet18, efficientnet_b0"));
}

#[test]
fn a_cache_that_cannot_be_made_is_named() {
    let (server, cache) = (Server::start(&[Answer::File]), cache());
    let file = cache.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = server.fetch(&file.join("folder")).unwrap_err();
    assert!(matches!(&error, WeightsError::Io(_)));
    assert!(error.to_string().contains("file/folder"), "{error}");
}
