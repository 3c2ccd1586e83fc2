//! Event files read by another route: checksums bit by bit, messages by a general protobuf reader.

use super::*;
use crate::train::Progress;

/// CRC-32C by long division, most significant bit first on reflected bits: no table, no code of the writer.
fn crc32c_by_division(bytes: &[u8]) -> u32 {
    let mut remainder = u32::MAX;
    for bit in bytes.iter().flat_map(|byte| (0..8).map(move |bit| u32::from((byte >> bit) & 1))) {
        let carried = (remainder >> 31) ^ bit;
        remainder = (remainder << 1) ^ (carried * 0x1EDC_6F41);
    }
    !remainder.reverse_bits()
}

fn unmasked(masked: u32) -> u32 {
    masked.wrapping_sub(0xA282_EAD8).rotate_left(15)
}

/// The bytes in the frames of a file.
fn records(mut file: &[u8]) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    while !file.is_empty() {
        let (length, rest) = file.split_at(8);
        let (length_checksum, rest) = rest.split_at(4);
        let count = u64::from_le_bytes(length.try_into().unwrap()) as usize;
        let (bytes, rest) = rest.split_at(count);
        let (checksum, rest) = rest.split_at(4);
        for (bytes, checksum) in [(length, length_checksum), (bytes, checksum)] {
            let found = u32::from_le_bytes(checksum.try_into().unwrap());
            assert_eq!(unmasked(found), crc32c_by_division(bytes));
        }
        records.push(bytes.to_vec());
        file = rest;
    }
    records
}

#[derive(Clone, Debug, PartialEq)]
enum Field {
    Number(u64),
    Double(f64),
    Float(f32),
    Bytes(Vec<u8>),
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        value |= u64::from(first & 0x7F) << shift;
        if first & 0x80 == 0 {
            return value;
        }
    }
    panic!("a varint of more than ten bytes");
}

fn message(mut bytes: &[u8]) -> Vec<(u64, Field)> {
    let mut fields = Vec::new();
    let take = |bytes: &mut &[u8], count: usize| {
        let (taken, rest) = bytes.split_at(count);
        *bytes = rest;
        taken.to_vec()
    };
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let field = match key & 7 {
            0 => Field::Number(varint(&mut bytes)),
            1 => Field::Double(f64::from_le_bytes(take(&mut bytes, 8).try_into().unwrap())),
            2 => {
                let count = varint(&mut bytes) as usize;
                Field::Bytes(take(&mut bytes, count))
            }
            5 => Field::Float(f32::from_le_bytes(take(&mut bytes, 4).try_into().unwrap())),
            wire => panic!("wire type {wire}"),
        };
        fields.push((key >> 3, field));
    }
    fields
}

fn field(fields: &[(u64, Field)], number: u64) -> &Field {
    &fields.iter().find(|(found, _)| *found == number).unwrap_or_else(|| panic!("field {number}")).1
}

fn inner(fields: &[(u64, Field)], number: u64) -> Vec<(u64, Field)> {
    match field(fields, number) {
        Field::Bytes(bytes) => message(bytes),
        other => panic!("{other:?}"),
    }
}

/// Step, tag and value of every scalar of an event.
fn scalars(event: &[(u64, Field)]) -> Vec<(u64, String, f32)> {
    let Field::Number(step) = field(event, 2) else { panic!("a step") };
    let values = inner(event, 5).into_iter().map(|(number, value)| {
        let Field::Bytes(value) = value else { panic!("{number}: {value:?}") };
        let value = message(&value);
        let (Field::Bytes(tag), Field::Float(number)) = (field(&value, 1), field(&value, 2)) else {
            panic!("{value:?}")
        };
        (*step, String::from_utf8(tag.clone()).unwrap(), *number)
    });
    values.collect()
}

fn record(epoch: usize) -> EpochRecord {
    let scores = |base: f64| Scores { loss: base + epoch as f64, accuracy: 0.5, macro_f1: 0.25 };
    EpochRecord {
        epoch,
        train: (epoch > 0).then(|| scores(0.125)),
        validation: scores(0.75),
        best: true,
        learning_rate: 0.01,
        seconds: 10.0,
        images_per_second: 300.0,
        data_wait_share: 0.0,
    }
}

fn event_files(run: &Path) -> Vec<Vec<Vec<(u64, Field)>>> {
    let mut paths: Vec<_> = fs_err::read_dir(run).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let events = |path| records(&fs_err::read(path).unwrap()).iter().map(|bytes| message(bytes)).collect();
    paths.into_iter().map(events).collect()
}

fn watch(run: &Path, before: &[EpochRecord], after: &[EpochRecord]) {
    let mut board = TensorBoard::new();
    let progress = Progress { history: before.to_vec(), ..Progress::new(2) };
    board.started(&Started {
        run: Some(run),
        epochs: 9,
        batches: 1,
        left_out: 0,
        progress: &progress,
        fresh: &[],
    });
    after.iter().for_each(|record| board.epoch(record));
    assert!(board.take_failure().is_none());
}

#[test]
fn an_independent_reader_finds_every_scalar() {
    let run = tempfile::tempdir().unwrap();
    watch(run.path(), &[], &[record(1), record(300)]);
    let [events] = &event_files(run.path())[..] else { panic!("one file") };
    assert_eq!(*field(&events[0], 3), Field::Bytes(b"brain.Event:2".to_vec()));
    let tags = [
        ("loss/validation", 1.75),
        ("accuracy/validation", 0.5),
        ("macro_f1/validation", 0.25),
        ("loss/train", 1.125),
        ("accuracy/train", 0.5),
        ("macro_f1/train", 0.25),
        ("learning_rate", 0.01),
        ("images_per_second", 300.0),
    ];
    let expected: Vec<_> = tags.iter().map(|(tag, value)| (1, (*tag).to_owned(), *value as f32)).collect();
    assert_eq!(scalars(&events[2]), expected);
    assert_eq!(scalars(&events[3])[0], (300, "loss/validation".to_owned(), 300.75));
    let Field::Double(time) = field(&events[2], 1) else { panic!("a time") };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((now - time).abs() < 60.0, "{time}");
}

#[test]
fn a_resumed_run_appends_a_file_that_starts_anew() {
    let run = tempfile::tempdir().unwrap();
    watch(run.path(), &[], &[record(0), record(1)]);
    watch(run.path(), &[record(0), record(1), record(2)], &[record(3)]);
    let files = event_files(run.path());
    assert_eq!(files.len(), 2, "the first file is still there");
    let events = &files[1];
    assert_eq!(*field(&events[1], 2), Field::Number(0), "earlier files are void from the start on");
    assert_eq!(inner(&events[1], 7), [(1, Field::Number(1))], "SessionLog.START");
    let steps: Vec<u64> = events[2..].iter().map(|event| scalars(event)[0].0).collect();
    assert_eq!(steps, [0, 1, 2, 3]);
    assert_eq!(scalars(&events[2]).len(), 3, "the start has no training scores and no rate");
    let time = |event: &[(u64, Field)]| match field(event, 1) {
        Field::Double(time) => *time,
        other => panic!("{other:?}"),
    };
    assert!((time(&events[3]) - time(&events[2]) - 10.0).abs() < 1e-3, "told again, dated back");
}

#[test]
fn a_directory_that_is_gone_is_told_and_stops_nothing() {
    let run = tempfile::tempdir().unwrap();
    let progress = Progress::new(2);
    let gone = run.path().join("gone");
    let mut board = TensorBoard::new();
    board.started(&Started {
        run: Some(&gone),
        epochs: 1,
        batches: 1,
        left_out: 0,
        progress: &progress,
        fresh: &[],
    });
    board.epoch(&record(1));
    let failure = board.take_failure().expect("a failure").to_string();
    assert!(failure.contains("gone"), "{failure}");
}
