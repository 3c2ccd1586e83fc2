use super::element::Element;
use super::fault::Fault;
use super::pickle::{Heap, Id, Object};
use super::pickle_tensor::TensorView;

/// The functions and classes that a pickle may refer to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Global {
    /// `collections.OrderedDict`, and dictionaries like it.
    Dict,
    /// `torch.FloatStorage` and so on.
    Storage(Element),
    /// `torch._utils._rebuild_tensor` and `_rebuild_tensor_v2`, whose first four arguments are the same.
    RebuildTensor,
    /// `torch._utils._rebuild_parameter`: a tensor that is trained.
    RebuildParameter,
    /// Makes a value that no tensor depends on.
    Inert,
}

/// Names that training scripts save beside the state dict. None of them is run; their values are dropped.
const INERT: &[&str] = &[
    "__builtin__.bytearray",
    "__builtin__.complex",
    "__builtin__.frozenset",
    "__builtin__.set",
    "_codecs.encode",
    "argparse.Namespace",
    "builtins.bytearray",
    "builtins.complex",
    "builtins.frozenset",
    "builtins.range",
    "builtins.set",
    "builtins.slice",
    "collections.Counter",
    "collections.deque",
    "datetime.datetime",
    "datetime.timedelta",
    "numpy._core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
    "numpy.core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy.dtype",
    "numpy.ndarray",
    "pathlib.PosixPath",
    "pathlib.WindowsPath",
    "torch.Size",
    "torch.Tensor",
    "torch.device",
    "torch.nn.parameter.Parameter",
];

/// Names of `torch.dtype` values.
const DTYPES: &[&str] =
    &["bfloat16", "bool", "float16", "float32", "float64", "int16", "int32", "int64", "int8", "uint8"];

impl Global {
    /// Finds a name (`module.name`) in the table.
    ///
    /// # Errors
    /// [`Fault::Refused`] with the name where it is not there, [`Fault::ElementType`] for storages of
    /// complex and quantised numbers.
    pub(super) fn find(name: &str) -> Result<Self, Fault> {
        let torch_name = name.strip_prefix("torch.").filter(|rest| !rest.contains('.'));
        match (name, torch_name) {
            ("collections.OrderedDict" | "collections.defaultdict", _) => Ok(Self::Dict),
            ("torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2", _) => {
                Ok(Self::RebuildTensor)
            }
            ("torch._utils._rebuild_parameter", _) => Ok(Self::RebuildParameter),
            (_, Some(class)) if class.ends_with("Storage") => {
                Element::from_storage_class(class).map(Self::Storage)
            }
            (_, Some(dtype)) if DTYPES.contains(&dtype) => Ok(Self::Inert),
            _ if INERT.contains(&name) => Ok(Self::Inert),
            _ => Err(Fault::Refused(name.to_owned())),
        }
    }

    /// The value that calling this with `arguments` stands for; none where the arguments don't fit.
    pub(super) fn call(self, heap: &Heap, arguments: &[Id]) -> Result<Option<Object>, Fault> {
        Ok(match self {
            Self::Dict => dict(heap, arguments),
            Self::RebuildTensor => TensorView::rebuild(heap, arguments).map(Object::Tensor),
            Self::RebuildParameter => match arguments.first().map(|&first| heap.get(first)) {
                Some(Object::Tensor(tensor)) => Some(Object::Tensor(tensor.clone())),
                _ => None,
            },
            Self::Inert => Some(Object::Other),
            Self::Storage(_) => None,
        })
    }
}

/// `OrderedDict()`, `OrderedDict([[key, value], ...])` or `defaultdict(factory)`.
fn dict(heap: &Heap, arguments: &[Id]) -> Option<Object> {
    let pairs = arguments.first().and_then(|&first| heap.sequence(first)).unwrap_or_default();
    let pair = |&pair: &Id| match heap.sequence(pair)? {
        &[key, value] => Some((key, value)),
        _ => None,
    };
    pairs.iter().map(pair).collect::<Option<_>>().map(Object::Dict)
}
