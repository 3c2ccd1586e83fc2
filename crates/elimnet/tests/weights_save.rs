//! Saving safetensors: exact, readable by the reference implementation, all or nothing.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Write};
use std::path::Path;
use std::process::Command;

use elimnet::weights::{
    Tensor, WeightsError, encode_safetensors, read_checkpoint, read_checkpoint_from, write_safetensors,
};
use safetensors::{Dtype, SafeTensors};

type Tensors = BTreeMap<String, Tensor>;

fn tensors() -> Tensors {
    let tensor = |shape: &[usize], values: &[f32]| Tensor { shape: shape.to_vec(), values: values.to_vec() };
    let awkward = [f32::NAN, -0.0, f32::INFINITY, f32::from_bits(1), f32::MAX, f32::from_bits(0xffc1_2345)];
    [
        ("bn1.num_batches_tracked", tensor(&[], &[1234.0])),
        ("conv1.weight", tensor(&[2, 3], &awkward)),
        ("empty", tensor(&[0, 4], &[])),
        ("fc.bias", tensor(&[1], &[0.1])),
        ("huge.num_batches_tracked", tensor(&[2], &[1e30, 7.0])),
        ("odd.num_batches_tracked", tensor(&[2], &[0.5, -0.0])),
    ]
    .map(|(name, tensor)| (name.to_owned(), tensor))
    .into()
}

fn metadata() -> BTreeMap<String, String> {
    [("classes", "[\"café\", \"a\\\"b\"]"), ("seed", "7")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// Shapes and bits, since NaN is not equal to itself.
fn bits(tensors: &Tensors) -> BTreeMap<&str, (&[usize], Vec<u32>)> {
    let bits = |tensor: &Tensor| tensor.values.iter().map(|value| value.to_bits()).collect();
    tensors.iter().map(|(name, tensor)| (name.as_str(), (tensor.shape.as_slice(), bits(tensor)))).collect()
}

fn encoded() -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_safetensors(&mut bytes, &tensors(), &metadata()).unwrap();
    bytes
}

/// Everything in a folder.
fn listing(folder: &Path) -> Vec<String> {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn a_round_trip_keeps_every_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    write_safetensors(&path, &tensors(), &metadata()).unwrap();
    let found = read_checkpoint(&path).unwrap();
    assert_eq!(bits(&found.tensors), bits(&tensors()));
    assert_eq!(found.metadata, metadata());
    assert_eq!(listing(folder.path()), ["weights.safetensors"]);
    assert_eq!(std::fs::read(&path).unwrap(), encoded(), "the same content gives the same bytes");
}

#[test]
fn the_reference_implementation_reads_it() {
    let bytes = encoded();
    let reference = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(reference.len(), tensors().len());
    for (name, tensor) in tensors() {
        let view = reference.tensor(&name).unwrap();
        assert_eq!(view.shape(), tensor.shape, "{name}");
        if name == "bn1.num_batches_tracked" {
            assert_eq!((view.dtype(), view.data()), (Dtype::I64, 1234i64.to_le_bytes().as_slice()));
        } else {
            let expected: Vec<u8> = tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect();
            assert_eq!((view.dtype(), view.data()), (Dtype::F32, expected.as_slice()), "{name}");
        }
    }
    let (header_length, header) = SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(header_length % 8, 0, "the numbers are aligned");
    assert_eq!(header.metadata().clone().unwrap().into_iter().collect::<BTreeMap<_, _>>(), metadata());
}

#[test]
fn it_reads_what_the_reference_implementation_writes() {
    let data: Vec<u8> = [1.5f32, -2.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    let view = safetensors::tensor::TensorView::new(Dtype::F32, vec![2, 1], &data).unwrap();
    let bytes = safetensors::serialize([("a.b", view)], None).unwrap();
    let found = read_checkpoint_from(Cursor::new(bytes), "memory").unwrap();
    assert_eq!(found.tensors["a.b"], Tensor { shape: vec![2, 1], values: vec![1.5, -2.0] });
}

#[test]
fn an_existing_file_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    std::fs::write(&path, "older").unwrap();
    write_safetensors(&path, &tensors(), &metadata()).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), encoded());
}

#[test]
fn a_missing_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("absent/weights.safetensors");
    let error = write_safetensors(&path, &tensors(), &metadata()).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot write `{}`", path.display()));
    assert!(error.hint().unwrap().contains("does not exist"));
    assert!(listing(folder.path()).is_empty());
}

#[test]
fn a_target_that_cannot_be_replaced_leaves_no_temporary_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    std::fs::create_dir(&path).unwrap();
    assert!(matches!(write_safetensors(&path, &tensors(), &metadata()), Err(WeightsError::Write { .. })));
    assert_eq!(listing(folder.path()), ["weights.safetensors"]);
}

/// A disk with room for some bytes.
struct SmallDisk(usize);

impl Write for SmallDisk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.min(bytes.len()) {
            0 => Err(io::ErrorKind::StorageFull.into()),
            written => {
                self.0 -= written;
                Ok(written)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_is_an_error_wherever_it_fills() {
    let length = encoded().len();
    for room in 0..length {
        let error = encode_safetensors(&mut SmallDisk(room), &tensors(), &metadata()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull, "room for {room} of {length} bytes");
    }
    encode_safetensors(&mut SmallDisk(length), &tensors(), &metadata()).unwrap();
}

/// Runs `child_with_a_file_size_limit` in a process that may only write files of 512 bytes.
#[cfg(unix)]
#[test]
fn a_write_that_fails_half_way_leaves_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    std::fs::write(&path, "older").unwrap();
    let script = "trap '' XFSZ; ulimit -f 1; exec \"$0\" --exact child_with_a_file_size_limit";
    let test = std::env::current_exe().unwrap();
    let child =
        Command::new("sh").arg("-c").arg(script).arg(test).env("ELIMNET_LIMITED", &path).output().unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
    assert_eq!(std::fs::read(&path).unwrap(), b"older");
    assert_eq!(listing(folder.path()), ["weights.safetensors"]);
}

#[cfg(unix)]
#[test]
fn child_with_a_file_size_limit() {
    let Some(path) = std::env::var_os("ELIMNET_LIMITED") else { return };
    let large = Tensor { shape: vec![1 << 16], values: vec![1.0; 1 << 16] };
    let error = write_safetensors(path, &[("large".to_owned(), large)].into(), &metadata()).unwrap_err();
    assert!(
        matches!(&error, WeightsError::Write { source, .. } if source.kind() == io::ErrorKind::FileTooLarge)
    );
    assert!(error.hint().unwrap().contains("make room"));
}

#[test]
fn a_permission_error_names_the_file_and_the_folder() {
    let path = Path::new("runs/weights.safetensors").to_owned();
    let error = WeightsError::Write { path, source: io::ErrorKind::PermissionDenied.into() };
    assert_eq!(error.to_string(), "cannot write `runs/weights.safetensors`");
    assert_eq!(error.hint().unwrap(), "runs is not writable for you; write elsewhere");
}

#[cfg(unix)]
#[test]
fn a_read_only_folder_is_a_permission_error() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o500)).unwrap();
    #[allow(clippy::print_stderr, reason = "a skipped test says so")]
    if std::fs::write(folder.path().join("probe"), "").is_ok() {
        eprintln!("SKIPPED: this user (root) may write to read-only folders");
        return;
    }
    let error = write_safetensors(folder.path().join("a.safetensors"), &tensors(), &metadata()).unwrap_err();
    assert!(
        matches!(&error, WeightsError::Write { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
    );
}

#[test]
fn the_formats_own_name_is_no_tensor() {
    let tensors = [("__metadata__".to_owned(), Tensor { shape: vec![], values: vec![1.0] })].into();
    let error = encode_safetensors(&mut Vec::new(), &tensors, &metadata()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}
