//! The two containers of `torch.save`: a zip archive (PyTorch 1.6 and later), and pickles followed by raw
//! storages (before).

use std::collections::BTreeMap;
use std::io::{Read, Seek};
use std::rc::Rc;

use super::archive::Archive;
use super::checkpoint::Tensor;
use super::fault::Fault;
use super::input::Input;
use super::pickle::{Object, Pickle, read_pickle};
use super::pickle_tensor::{StorageView, TensorView};
use super::state_dict::select_state_dict;

/// The first pickle of a legacy file: protocol 2 and a number that says "PyTorch".
pub(super) const LEGACY_MAGIC: [u8; 15] = *b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e";
const LEGACY_PROTOCOL: i64 = 1001;
/// A state dict's pickle takes some 100 bytes a tensor.
const MOST_PICKLE_BYTES: u64 = 64 << 20;
/// Tied weights and views share storages, so tensors may hold some more values than the file has bytes.
const MOST_VALUES_PER_BYTE: u64 = 4;

type Tensors = BTreeMap<String, Tensor>;

/// Reads a zip checkpoint.
pub(super) fn read_zip<R: Read + Seek>(input: &mut Input<R>) -> Result<Tensors, Fault> {
    let archive = Archive::open(input)?;
    let pickle_name = archive.names().find(|name| *name == "data.pkl" || name.ends_with("/data.pkl"));
    let pickle_name = pickle_name.ok_or_else(|| Fault::NoEntry("data.pkl".to_owned()))?.to_owned();
    let folder = pickle_name.trim_end_matches("data.pkl").to_owned();
    let byte_order = format!("{folder}byteorder");
    if archive.names().any(|name| name == byte_order) && archive.read(input, &byte_order)? != b"little" {
        return Err(Fault::BigEndian);
    }
    if archive.length(&pickle_name)? > MOST_PICKLE_BYTES {
        return Err(Fault::PickleTooLarge { limit: MOST_PICKLE_BYTES as usize, unit: "bytes" });
    }
    let pickle = read_pickle(&archive.read(input, &pickle_name)?)?;
    read_tensors(&pickle, input.length(), |storage| {
        archive.read(input, &format!("{folder}data/{}", storage.key))
    })
}

/// Reads a legacy checkpoint.
pub(super) fn read_legacy<R: Read + Seek>(input: &mut Input<R>) -> Result<Tensors, Fault> {
    let start = input.read_start(MOST_PICKLE_BYTES)?;
    let mut position = LEGACY_MAGIC.len();
    let mut next = || {
        let pickle = read_pickle(&start[position..]);
        pickle.inspect(|pickle| position += pickle.length)
    };
    let protocol = next()?;
    match protocol.heap.int(protocol.root) {
        Some(LEGACY_PROTOCOL) => (),
        found => return Err(Fault::LegacyProtocol { found: found.unwrap_or(-1) }),
    }
    let system = next()?;
    let little_endian = system.heap.entry(system.root, "little_endian");
    if little_endian.is_some_and(|id| matches!(system.heap.get(id), Object::Bool(false))) {
        return Err(Fault::BigEndian);
    }
    let pickle = next()?;
    let keys = legacy_keys(&next()?)?;
    let storages = locate_legacy_storages(input, position as u64, &keys, &declared_storages(&pickle)?)?;
    read_tensors(&pickle, input.length(), |storage| {
        let offset = storages.get(&storage.key).ok_or_else(|| Fault::NoEntry(storage.key.to_string()))?;
        let length = storage_bytes(storage)?;
        input.read_at(*offset, length, &format!("the storage `{}`", storage.key))
    })
}

fn legacy_keys(pickle: &Pickle) -> Result<Vec<Rc<str>>, Fault> {
    let malformed = Fault::Pickle { what: "the list of storages is not a list of texts", position: 0 };
    let ids = pickle.heap.sequence(pickle.root).unwrap_or_default();
    let keys = ids.iter().map(|&id| pickle.heap.text(id).map(Rc::from)).collect::<Option<_>>();
    keys.ok_or(malformed)
}

/// Every storage that the pickle refers to, whether a chosen tensor uses it or not.
fn declared_storages(pickle: &Pickle) -> Result<BTreeMap<Rc<str>, StorageView>, Fault> {
    let mut storages = BTreeMap::<Rc<str>, StorageView>::new();
    for storage in pickle.heap.storages() {
        let known = storages.entry(storage.key.clone()).or_insert_with(|| storage.clone());
        if (known.element, known.length) != (storage.element, storage.length) {
            return Err(Fault::StorageRedeclared(storage.key.to_string()));
        }
    }
    Ok(storages)
}

/// Where each storage's bytes start: after its 64-bit element count, one storage behind the other.
fn locate_legacy_storages<R: Read + Seek>(
    input: &mut Input<R>,
    mut position: u64,
    keys: &[Rc<str>],
    declared: &BTreeMap<Rc<str>, StorageView>,
) -> Result<BTreeMap<Rc<str>, u64>, Fault> {
    let mut offsets = BTreeMap::new();
    for key in keys {
        let storage = declared.get(key).ok_or_else(|| Fault::NoEntry(key.to_string()))?;
        let count = input.read_at(position, 8, &format!("the length of the storage `{key}`"))?;
        let found = count.iter().rev().fold(0u64, |number, &byte| number << 8 | u64::from(byte));
        let expected = storage_bytes(storage)?;
        if found != storage.length as u64 {
            let found = found.saturating_mul(storage.element.size() as u64);
            return Err(Fault::StorageLength { storage: key.to_string(), expected, found });
        }
        offsets.insert(key.clone(), position + 8);
        // Overflow is out of reach: `expected` is at most the file's length once the storage is read.
        position = (position + 8).saturating_add(expected);
    }
    Ok(offsets)
}

fn storage_bytes(storage: &StorageView) -> Result<u64, Fault> {
    let bytes = (storage.length as u64).checked_mul(storage.element.size() as u64);
    bytes.ok_or_else(|| Fault::StorageLength {
        storage: storage.key.to_string(),
        expected: u64::MAX,
        found: 0,
    })
}

/// Reads each storage once and gathers the tensors on it.
fn read_tensors(
    pickle: &Pickle,
    file_length: u64,
    mut read_storage: impl FnMut(&StorageView) -> Result<Vec<u8>, Fault>,
) -> Result<Tensors, Fault> {
    let views = select_state_dict(pickle)?;
    check_views(&views, file_length)?;
    declared_storages(pickle)?;
    let mut by_storage = BTreeMap::<&str, Vec<(&String, &TensorView)>>::new();
    for (name, view) in &views {
        by_storage.entry(&view.storage.key).or_default().push((name, view));
    }
    let mut tensors = Tensors::new();
    for group in by_storage.into_values() {
        let storage = &group[0].1.storage;
        let bytes = read_storage(storage)?;
        let (expected, found) = (storage_bytes(storage)?, bytes.len() as u64);
        if found != expected {
            return Err(Fault::StorageLength { storage: storage.key.to_string(), expected, found });
        }
        for (name, view) in group {
            tensors.insert(name.clone(), Tensor { shape: view.shape.clone(), values: view.gather(&bytes) });
        }
    }
    Ok(tensors)
}

fn check_views(views: &BTreeMap<String, TensorView>, file_length: u64) -> Result<(), Fault> {
    let mut claimed = 0usize;
    for (name, view) in views {
        view.check(name)?;
        claimed = claimed.saturating_add(view.count().unwrap_or(usize::MAX));
        if claimed as u64 > file_length.saturating_mul(MOST_VALUES_PER_BYTE) {
            return Err(Fault::TooManyValues { claimed, file_length });
        }
    }
    Ok(())
}
