//! The messages `Event` and `Summary` in protobuf's encoding, as far as scalars need them.
//!
//! # Source
//! `tensorboard/compat/proto/event.proto` and `summary.proto`; <https://protobuf.dev/programming-guides/encoding/>.

use std::time::SystemTime;

/// What readers look for at the start of a file.
const FILE_VERSION: &str = "brain.Event:2";

/// How a field's bytes are to be read.
#[derive(Clone, Copy)]
enum Wire {
    Varint = 0,
    EightBytes = 1,
    Length = 2,
    FourBytes = 5,
}

/// One entry of an event file.
pub(super) struct Event {
    time: SystemTime,
    step: u64,
    what: What,
}

enum What {
    FileVersion,
    SessionStart,
    Scalars(Vec<(String, f64)>),
}

impl Event {
    /// The first entry of every file.
    pub(super) fn file_version(time: SystemTime) -> Self {
        Self { time, step: 0, what: What::FileVersion }
    }

    /// Tells readers to drop what earlier files say of `step` and later ones.
    pub(super) fn session_start(time: SystemTime, step: u64) -> Self {
        Self { time, step, what: What::SessionStart }
    }

    /// Numbers by tag.
    pub(super) fn scalars(time: SystemTime, step: u64, scalars: Vec<(String, f64)>) -> Self {
        Self { time, step, what: What::Scalars(scalars) }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let time = self.time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let mut event = Message::default();
        event.double(1, time).varint(2, self.step);
        match &self.what {
            What::FileVersion => event.bytes(3, FILE_VERSION.as_bytes()),
            What::SessionStart => event.bytes(7, &Message::default().varint(1, 1).0), // SessionLog.START
            What::Scalars(scalars) => event.bytes(5, &summary(scalars).0),
        };
        event.0
    }
}

fn summary(scalars: &[(String, f64)]) -> Message {
    let mut summary = Message::default();
    for (tag, value) in scalars {
        let mut entry = Message::default();
        entry.bytes(1, tag.as_bytes()).float(2, *value as f32);
        summary.bytes(1, &entry.0);
    }
    summary
}

/// Fields, one after the other.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn key(&mut self, field: u64, wire: Wire) -> &mut Self {
        self.number((field << 3) | wire as u64)
    }

    /// Seven bits a byte, the lowest first; the eighth says that more follow.
    fn number(&mut self, mut value: u64) -> &mut Self {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
        self
    }

    fn varint(&mut self, field: u64, value: u64) -> &mut Self {
        self.key(field, Wire::Varint).number(value)
    }

    fn double(&mut self, field: u64, value: f64) -> &mut Self {
        self.key(field, Wire::EightBytes).0.extend(value.to_le_bytes());
        self
    }

    fn float(&mut self, field: u64, value: f32) -> &mut Self {
        self.key(field, Wire::FourBytes).0.extend(value.to_le_bytes());
        self
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) -> &mut Self {
        self.key(field, Wire::Length).number(bytes.len() as u64).0.extend(bytes);
        self
    }
}
