//! Damaged and hostile checkpoints: each way to be wrong has its fault, none panics.

use std::io::Cursor;
use std::path::Path;

use elimnet::weights::{
    Checkpoint, Fault, WeightsError, encode_safetensors, read_checkpoint, read_checkpoint_from,
};

fn fixture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/weights");
    std::fs::read(folder.join(name)).unwrap()
}

fn read(bytes: &[u8]) -> Result<Checkpoint, Fault> {
    read_checkpoint_from(Cursor::new(bytes), "memory").map_err(|error| match error {
        WeightsError::Malformed { fault, .. } => fault,
        other => panic!("{other:?}"),
    })
}

fn fault(bytes: &[u8]) -> Fault {
    read(bytes).expect_err("this is malformed")
}

/// Checks that the fault is of the pattern, and shows it where it is not.
macro_rules! assert_fault {
    ($bytes:expr, $pattern:pat $(if $guard:expr)?) => {
        match fault($bytes) {
            $pattern $(if $guard)? => (),
            other => panic!("expected {}, found {other:?}", stringify!($pattern)),
        }
    };
}

/// A zip archive of stored entries, as `torch.save` writes it.
fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in entries {
        let offset = bytes.len() as u32;
        let mut fields = Vec::new();
        fields.extend([0; 2 + 2 + 4]); // flags, method, time
        fields.extend(crc32fast::hash(content).to_le_bytes());
        fields.extend((content.len() as u32).to_le_bytes());
        fields.extend((content.len() as u32).to_le_bytes());
        fields.extend((name.len() as u16).to_le_bytes());
        fields.extend([0; 2]);
        bytes.extend(b"PK\x03\x04\x14\0");
        bytes.extend(&fields);
        bytes.extend(name.as_bytes());
        bytes.extend(*content);
        directory.extend(b"PK\x01\x02\x14\0\x14\0");
        directory.extend(&fields);
        directory.extend([0; 2 + 2 + 2 + 4]); // comment, disk, attributes
        directory.extend(offset.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (offset, length) = (bytes.len() as u32, directory.len() as u32);
    bytes.extend(directory);
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    bytes.extend((entries.len() as u16).to_le_bytes());
    bytes.extend((entries.len() as u16).to_le_bytes());
    bytes.extend(length.to_le_bytes());
    bytes.extend(offset.to_le_bytes());
    bytes.extend([0; 2]);
    bytes
}

fn zip_of_pickle(pickle: &[u8]) -> Vec<u8> {
    zip(&[("a/data.pkl", pickle), ("a/data/0", &[0; 16])])
}

fn text(text: &str) -> Vec<u8> {
    [b"X".as_slice(), &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
}

fn int(value: i64) -> Vec<u8> {
    [b"\x8a\x08".as_slice(), &value.to_le_bytes()].concat()
}

fn tuple(items: &[i64]) -> Vec<u8> {
    [b"(".to_vec(), items.iter().flat_map(|&item| int(item)).collect(), b"t".to_vec()].concat()
}

/// A tensor over `length` f32 of the storage `0`.
fn tensor(length: i64, offset: i64, shape: &[i64], strides: &[i64]) -> Vec<u8> {
    let storage = [
        b"(".to_vec(),
        text("storage"),
        b"ctorch\nFloatStorage\n".to_vec(),
        text("0"),
        text("cpu"),
        int(length),
        b"tQ".to_vec(),
    ];
    let arguments = [storage.concat(), int(offset), tuple(shape), tuple(strides), b"\x89N".to_vec()];
    [b"ctorch._utils\n_rebuild_tensor_v2\n(".to_vec(), arguments.concat(), b"tR".to_vec()].concat()
}

/// A pickled dictionary.
fn pickle(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let items = entries.iter().flat_map(|(name, value)| [text(name), value.clone()].concat()).collect();
    [b"\x80\x02}(".to_vec(), items, b"u.".to_vec()].concat()
}

fn zip_of_tensor(tensor: Vec<u8>) -> Vec<u8> {
    zip_of_pickle(&pickle(&[("w", tensor)]))
}

/// A safetensors file with this header and as many zero bytes.
fn safetensors(header: &str, data: usize) -> Vec<u8> {
    [(header.len() as u64).to_le_bytes().as_slice(), header.as_bytes(), &vec![0; data]].concat()
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let at = bytes.windows(from.len()).position(|window| window == from).expect("the bytes are there");
    [&bytes[..at], to, &bytes[at + from.len()..]].concat()
}

#[test]
fn what_the_tests_build_is_sound_where_it_should_be() {
    let found = read(&zip_of_tensor(tensor(4, 0, &[2, 2], &[2, 1]))).unwrap();
    assert_eq!(found.tensors["w"].shape, [2, 2]);
    let found = read(&safetensors(r#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 8)).unwrap();
    assert_eq!(found.tensors["w"].values, [0.0; 2]);
}

#[test]
fn files_that_are_no_checkpoints() {
    assert_fault!(b"", Fault::Empty);
    assert_fault!(b"\x7fELF\x02\x01\x01\0\0\0\0", Fault::UnknownFormat { start } if start.len() == 8);
    assert_fault!(b"{}", Fault::UnknownFormat { .. });
    let folder = tempfile::tempdir().unwrap();
    let error = read_checkpoint(folder.path()).unwrap_err();
    assert!(matches!(error, WeightsError::Directory { .. }) && error.hint().is_some());
    let error = read_checkpoint(folder.path().join("absent.pth")).unwrap_err();
    assert!(matches!(error, WeightsError::Io(_)) && error.to_string().contains("absent.pth"), "{error}");
}

#[test]
fn every_cut_of_every_layout_is_an_error() {
    for name in ["zip.pth", "legacy.pth", "views_legacy.pth", "plain.safetensors", "nested_model.pth"] {
        let bytes = fixture(name);
        for length in 0..bytes.len() {
            assert!(read(&bytes[..length]).is_err(), "{name} cut to {length} of {} bytes", bytes.len());
        }
    }
}

#[test]
fn no_single_wrong_byte_panics_and_the_checksum_guards_the_numbers() {
    for name in ["zip.pth", "legacy.pth", "views.pth", "plain.safetensors"] {
        let mut bytes = fixture(name);
        for position in 0..bytes.len() {
            for flip in [0x01, 0x80, 0xff] {
                bytes[position] ^= flip;
                if let Ok(checkpoint) = read(&bytes) {
                    assert_survives_saving(&checkpoint, name, position);
                }
                bytes[position] ^= flip;
            }
        }
    }
    let damaged = replaced(&fixture("zip.pth"), &5.5f32.to_le_bytes(), &6.5f32.to_le_bytes());
    assert_fault!(&damaged, Fault::Checksum { entry, .. } if entry == "zip/data/0");
}

/// What could be read can be saved, and is then the same bit for bit.
fn assert_survives_saving(checkpoint: &Checkpoint, name: &str, position: usize) {
    let save = |checkpoint: &Checkpoint| {
        let mut bytes = Vec::new();
        encode_safetensors(&mut bytes, &checkpoint.tensors, &checkpoint.metadata).unwrap();
        bytes
    };
    let saved = save(checkpoint);
    let again = read(&saved).unwrap();
    assert!(again.tensors.keys().eq(checkpoint.tensors.keys()), "{name}: byte {position}");
    assert_eq!(save(&again), saved, "{name}: byte {position}");
}

#[test]
fn damaged_archives() {
    let good = zip_of_tensor(tensor(4, 0, &[4], &[1]));
    assert_fault!(&good[..good.len() - 22], Fault::NoDirectory);
    assert_fault!(&replaced(&good, b"PK\x01\x02", b"PK\x01\x09"), Fault::DamagedDirectory(_));
    assert_fault!(&zip(&[("a/x", b"1"), ("a/x", b"2")]), Fault::DamagedDirectory(_));
    assert_fault!(&zip(&[("a/version", b"3")]), Fault::NoEntry(name) if name == "data.pkl");
    assert_fault!(&zip(&[("a/data.pkl", &pickle(&[("w", tensor(4, 0, &[4], &[1]))]))]), Fault::NoEntry(name) if name == "a/data/0");
    let deflated = replaced(&good, b"PK\x01\x02\x14\0\x14\0\0\0\0\0", b"PK\x01\x02\x14\0\x14\0\0\0\x08\0");
    assert_fault!(&deflated, Fault::CompressedEntry { method: 8, .. });
    let encrypted = replaced(&good, b"PK\x01\x02\x14\0\x14\0\0\0\0\0", b"PK\x01\x02\x14\0\x14\0\x01\0\0\0");
    assert_fault!(&encrypted, Fault::CompressedEntry { method: 0, .. });
    let mut far = good.clone();
    let end = far.len();
    far[end - 6..end - 2].copy_from_slice(&0x7fff_ffffu32.to_le_bytes());
    assert_fault!(&far, Fault::PastEnd { .. });
    assert_fault!(&zip(&[("a/data.pkl", b"\x80\x02}."), ("a/byteorder", b"big")]), Fault::BigEndian);
}

#[test]
fn damaged_pickles() {
    assert_fault!(&zip_of_pickle(b"\x80\x02}"), Fault::PickleEnds(_));
    assert_fault!(&zip_of_pickle(b"\x80\x02\xfe."), Fault::Opcode { opcode: 0xfe, position: 2 });
    for (pickle, what) in [
        (b"\x80\x02.".as_slice(), "an empty stack"),
        (b"\x80\x02u.", "no mark"),
        (b"\x80\x02h\x07.", "nothing stored under 7"),
        (b"\x80\x02}(Nu.", "a key without a value"),
        (b"\x80\x02K\x01)R.", "a call of a number"),
        (b"\x80\x02NNQ.", "a storage that is None"),
        (b"\x80\x02N(\x85.", "a tuple across a mark"),
        (b"\x80\x02NN\x93.", "a function without a name"),
        (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.", "a tensor of nothing"),
    ] {
        assert!(
            matches!(fault(&zip_of_pickle(pickle)), Fault::Pickle { .. }),
            "{what}: {:?}",
            fault(&zip_of_pickle(pickle))
        );
    }
    assert_fault!(&zip_of_pickle(b"\x80\x02."), Fault::Pickle { .. });
}

#[test]
fn functions_are_refused_however_they_are_named() {
    for (pickle, name) in [
        (b"\x80\x02cposix\nsystem\n.".to_vec(), "posix.system"),
        ([b"\x80\x02".to_vec(), text("builtins"), text("eval"), b"\x93.".to_vec()].concat(), "builtins.eval"),
        (b"\x80\x02(ios\nsystem\n.".to_vec(), "os.system"),
        (b"\x80\x02ctorch\nload\n.".to_vec(), "torch.load"),
        // Named, then thrown away: still refused.
        (b"\x80\x02csubprocess\nPopen\n0}.".to_vec(), "subprocess.Popen"),
        (b"\x80\x02ctorch.serialization\nload\n.".to_vec(), "torch.serialization.load"),
    ] {
        assert_fault!(&zip_of_pickle(&pickle), Fault::Refused(found) if found == name);
    }
}

#[test]
fn bombs_are_refused_before_memory_is_set_aside() {
    // A text that claims 2^62 bytes.
    let text_bomb = [b"\x80\x04\x8d".as_slice(), &(1u64 << 62).to_le_bytes(), b"x."].concat();
    assert_fault!(&zip_of_pickle(&text_bomb), Fault::PickleEnds(_));
    // One number repeated 10^12 times by strides of zero.
    let repeated = tensor(4, 0, &[1_000_000, 1_000_000], &[0, 0]);
    assert_fault!(&zip_of_tensor(repeated), Fault::TooManyValues { claimed: 1_000_000_000_000, .. });
    // Lists that hold themselves and each other are only indices.
    assert_fault!(&zip_of_pickle(b"\x80\x02]q\0h\0ah\0h\0a."), Fault::NoTensors { .. });
    let many = [b"\x80\x02".to_vec(), vec![b'N'; 4_000_001], b".".to_vec()].concat();
    assert_fault!(&zip_of_pickle(&many), Fault::PickleTooLarge { unit: "values", .. });
}

#[test]
fn tensors_that_contradict_their_storage() {
    for (offset, shape, strides) in [
        (0, vec![5], vec![1]),
        (1, vec![4], vec![1]),
        (0, vec![2, 2], vec![3, 1]),
        (i64::MAX, vec![1], vec![1]),
        (0, vec![2], vec![i64::MAX]),
        (0, vec![i64::MAX, i64::MAX, i64::MAX], vec![0, 0, 0]),
    ] {
        assert_fault!(&zip_of_tensor(tensor(4, offset, &shape, &strides)), Fault::TensorOutside { .. });
    }
    // The storage has 16 bytes.
    assert_fault!(
        &zip_of_tensor(tensor(5, 0, &[4], &[1])),
        Fault::StorageLength { expected: 20, found: 16, .. }
    );
    assert_fault!(&zip_of_tensor(tensor(4, 0, &[4], &[])), Fault::Pickle { .. });
    assert_fault!(&zip_of_tensor(tensor(4, -1, &[4], &[1])), Fault::Pickle { .. });
    let twice = pickle(&[("a", tensor(4, 0, &[4], &[1])), ("b", tensor(3, 0, &[3], &[1]))]);
    assert_fault!(&zip_of_pickle(&twice), Fault::StorageRedeclared(key) if key == "0");
}

#[test]
fn a_side_of_one_may_have_any_stride() {
    let found = read(&zip_of_tensor(tensor(4, 1, &[1, 3], &[i64::MAX, 1]))).unwrap();
    assert_eq!(found.tensors["w"].shape, [1, 3]);
    let found = read(&zip_of_tensor(tensor(4, 0, &[1, 2], &[i64::MAX, 2]))).unwrap();
    assert_eq!(found.tensors["w"].values.len(), 2);
}

#[test]
fn damaged_legacy_files() {
    let good = fixture("legacy.pth");
    assert_fault!(&replaced(&good, b"M\xe9\x03.", b"M\xea\x03."), Fault::LegacyProtocol { found: 1002 });
    let big = replaced(&good, b"little_endianq\x02\x88", b"little_endianq\x02\x89");
    assert_fault!(&big, Fault::BigEndian);
    // The storage of two numbers says that it has three.
    let lying = replaced(
        &good,
        &[2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0xbf],
        &[3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0xbf],
    );
    assert_fault!(&lying, Fault::StorageLength { expected: 8, found: 12, .. });
}

#[test]
fn damaged_safetensors() {
    let entry = |dtype: &str, shape: &str, offsets: &str| {
        format!(r#"{{"w":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#)
    };
    let file = |dtype, shape, offsets, data| safetensors(&entry(dtype, shape, offsets), data);
    assert_fault!(&safetensors("{\"w\":7}", 0), Fault::Header(_));
    assert_fault!(&safetensors("{", 0), Fault::Header(_));
    assert_fault!(&safetensors("{\"__metadata__\":{\"n\":1}}", 0), Fault::Header(_));
    assert_fault!(&file("F32", "[-1]", "[0,4]", 4), Fault::Header(_));
    assert_fault!(&safetensors("{}", 0), Fault::NoTensors { .. });
    assert_fault!(&file("F8_E4M3", "[4]", "[0,4]", 4), Fault::ElementType(name) if name == "F8_E4M3");
    assert_fault!(&file("F32", "[1]", "[4,8]", 8), Fault::Offset { expected: 0, found: 4, .. });
    assert_fault!(&file("F32", "[1]", "[0,8]", 8), Fault::TensorLength { expected: 4, found: 8, .. });
    let huge = "[4294967296,4294967296]";
    assert_fault!(&file("F32", huge, "[0,8]", 8), Fault::TensorLength { expected: usize::MAX, .. });
    assert_fault!(&file("F32", "[1]", "[0,4]", 5), Fault::TrailingBytes(1));
    assert_fault!(&file("F32", "[2]", "[0,8]", 4), Fault::PastEnd { .. });
    let overlap = r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}"#;
    assert_fault!(&safetensors(overlap, 6), Fault::Offset { expected: 4, found: 2, .. });
    let claims = |length: u64| [length.to_le_bytes().as_slice(), b"{}"].concat();
    assert_fault!(&claims(u64::MAX), Fault::HeaderTooLarge { .. });
    assert_fault!(&claims(100_000_000), Fault::PastEnd { length: 100_000_000, .. });
}

#[test]
fn every_fault_a_user_can_mend_has_a_hint() {
    for name in ["malicious.pth", "no_tensors.pth", "complex.pth"] {
        let error = read_checkpoint_from(Cursor::new(fixture(name)), name).unwrap_err();
        assert!(error.hint().is_some(), "{error:?}");
        assert_eq!(error.to_string(), format!("cannot read `{name}`"));
        assert!(std::error::Error::source(&error).is_some());
    }
}
