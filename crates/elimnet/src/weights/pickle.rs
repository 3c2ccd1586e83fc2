//! Reads the pickle of a state dict as data.
//!
//! A pickle is a program for a small stack machine. This one knows the instructions that build numbers,
//! texts, tuples, lists, dictionaries and tensors; names of functions and classes are looked up in the
//! closed table of [`Global`], and any other name is refused when it appears, whether called or not.
//!
//! Values live in a [`Heap`] and refer to each other by index, so that sharing costs nothing, cycles do no
//! harm and nothing is ever copied or dropped recursively.
//!
//! Rejected: the crate `pytorch-reader`, which keeps calls it doesn't know as opaque values instead of
//! refusing them by name, and brings tar, deflate and a serde adapter (16 s of a 2-core build).

use super::fault::Fault;
use super::pickle_global::Global;
use super::pickle_tensor::{StorageView, TensorView};

/// State dicts of the largest networks have some thousand values.
const MOST_OBJECTS: usize = 4_000_000;

/// Index of a value in its [`Heap`].
pub(super) type Id = usize;

/// A value of the pickle.
#[derive(Debug, Clone)]
pub(super) enum Object {
    None,
    Bool(bool),
    Int(i64),
    Text(String),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Global),
    Storage(StorageView),
    Tensor(TensorView),
    /// Something that no tensor depends on: a float, bytes, a set, a `Namespace`.
    Other,
}

/// All values of a pickle.
#[derive(Debug, Default)]
pub(super) struct Heap {
    objects: Vec<Object>,
}

impl Heap {
    pub(super) fn get(&self, id: Id) -> &Object {
        &self.objects[id]
    }

    pub(super) fn text(&self, id: Id) -> Option<&str> {
        match self.get(id) {
            Object::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn int(&self, id: Id) -> Option<i64> {
        match self.get(id) {
            Object::Int(value) => Some(*value),
            _ => None,
        }
    }

    pub(super) fn sequence(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Object::Tuple(items) | Object::List(items) => Some(items),
            _ => None,
        }
    }

    pub(super) fn dict(&self, id: Id) -> Option<&[(Id, Id)]> {
        match self.get(id) {
            Object::Dict(items) => Some(items),
            _ => None,
        }
    }

    /// Every reference to a storage.
    pub(super) fn storages(&self) -> impl Iterator<Item = &StorageView> {
        self.objects.iter().filter_map(|object| match object {
            Object::Storage(storage) => Some(storage),
            _ => None,
        })
    }

    /// The value of a text key; the last one counts, as in Python.
    pub(super) fn entry(&self, dict: Id, key: &str) -> Option<Id> {
        let items = self.dict(dict)?;
        items.iter().rev().find(|(name, _)| self.text(*name) == Some(key)).map(|(_, value)| *value)
    }
}

/// A pickle that was read to its end.
#[derive(Debug)]
pub(super) struct Pickle {
    pub(super) heap: Heap,
    pub(super) root: Id,
    /// Bytes read; legacy files have the next pickle there.
    pub(super) length: usize,
}

/// Runs the pickle at the start of `bytes`.
pub(super) fn read_pickle(bytes: &[u8]) -> Result<Pickle, Fault> {
    let mut machine = Machine { bytes, ..Machine::default() };
    while machine.step()? {}
    let root = machine.pop()?;
    Ok(Pickle { heap: machine.heap, root, length: machine.position })
}

#[derive(Default)]
struct Machine<'a> {
    bytes: &'a [u8],
    position: usize,
    heap: Heap,
    stack: Vec<Id>,
    /// Stack heights.
    marks: Vec<usize>,
    memo: std::collections::HashMap<u32, Id>,
}

impl Machine<'_> {
    /// Runs one instruction; false once the pickle stops. The opcodes are named in CPython's `pickletools`.
    fn step(&mut self) -> Result<bool, Fault> {
        let position = self.position;
        let [opcode] = self.array()?;
        match opcode {
            b'.' => return Ok(false),
            0x80 => self.skip(1)?, // PROTO
            0x95 => self.skip(8)?, // FRAME
            b'N' => self.push(Object::None)?,
            0x88 => self.push(Object::Bool(true))?,
            0x89 => self.push(Object::Bool(false))?,
            b'J' => self.push_int(|machine| machine.array().map(i32::from_le_bytes).map(i64::from))?,
            b'K' => self.push_int(|machine| machine.array().map(|[byte]: [u8; 1]| byte.into()))?,
            b'M' => self.push_int(|machine| machine.array().map(u16::from_le_bytes).map(i64::from))?,
            0x8a => self.long()?,
            b'G' => self.skip_as_other(8)?, // BINFLOAT
            b'X' => self.text(4)?,
            0x8c => self.text(1)?,
            0x8d => self.text(8)?,
            b'U' => self.text(1)?, // SHORT_BINSTRING, Python 2's str
            b'T' => self.text(4)?,
            b'C' => self.bytes_as_other(1)?,
            b'B' => self.bytes_as_other(4)?,
            0x8e | 0x96 => self.bytes_as_other(8)?,
            b'(' => self.marks.push(self.stack.len()),
            b')' => self.push(Object::Tuple(Vec::new()))?,
            0x85 => self.tuple(1)?,
            0x86 => self.tuple(2)?,
            0x87 => self.tuple(3)?,
            b't' => self.marked(Object::Tuple)?,
            b']' => self.push(Object::List(Vec::new()))?,
            b'l' => self.marked(Object::List)?,
            b'}' => self.push(Object::Dict(Vec::new()))?,
            b'd' => {
                let items = self.pop_marked()?;
                self.push(Object::Dict(Vec::new()))?;
                self.set_items(items)?;
            }
            0x8f => self.push(Object::Other)?, // EMPTY_SET
            0x90 => drop(self.pop_marked()?),  // ADDITEMS
            0x91 => self.marked(|_| Object::Other)?,
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' => {
                let items = self.pop_marked()?;
                self.append(items)?;
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.set_items(vec![key, value])?;
            }
            b'u' => {
                let items = self.pop_marked()?;
                self.set_items(items)?;
            }
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_marked()?),
            b'2' => self.stack.push(self.top()?),
            b'q' => {
                let [index] = self.array()?;
                self.remember(index.into())?;
            }
            b'r' => {
                let index = self.array().map(u32::from_le_bytes)?;
                self.remember(index)?;
            }
            0x94 => self.remember(u32::try_from(self.memo.len()).unwrap_or(u32::MAX))?,
            b'h' => {
                let [index] = self.array()?;
                self.recall(index.into())?;
            }
            b'j' => {
                let index = self.array().map(u32::from_le_bytes)?;
                self.recall(index)?;
            }
            b'c' => self.global()?,
            0x93 => self.stack_global()?,
            b'i' => return Err(Fault::Refused(self.global_name()?)), // INST: looks a class up and calls it
            b'R' | 0x81 => self.call()?,                             // REDUCE, NEWOBJ
            0x92 => {
                self.pop()?; // NEWOBJ_EX: the keyword arguments
                self.call()?;
            }
            b'b' => drop(self.pop()?), // BUILD: attributes, which no tensor depends on
            b'Q' => self.persistent_id()?,
            _ => return Err(Fault::Opcode { opcode, position }),
        }
        Ok(true)
    }

    fn inconsistent(&self, what: &'static str) -> Fault {
        Fault::Pickle { what, position: self.position }
    }

    fn take(&mut self, count: usize) -> Result<&[u8], Fault> {
        let end = self.position.checked_add(count).filter(|&end| end <= self.bytes.len());
        let end = end.ok_or(Fault::PickleEnds(self.bytes.len()))?;
        let taken = &self.bytes[self.position..end];
        self.position = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn skip(&mut self, count: usize) -> Result<(), Fault> {
        self.take(count).map(drop)
    }

    fn line(&mut self) -> Result<String, Fault> {
        let rest = &self.bytes[self.position..];
        let length =
            rest.iter().position(|&byte| byte == b'\n').ok_or(Fault::PickleEnds(self.bytes.len()))?;
        let line = String::from_utf8_lossy(&rest[..length]).into_owned();
        self.position += length + 1;
        Ok(line)
    }

    /// A length field of `width` bytes, little-endian.
    fn length(&mut self, width: usize) -> Result<usize, Fault> {
        let mut wide = [0; 8];
        wide[..width].copy_from_slice(self.take(width)?);
        usize::try_from(u64::from_le_bytes(wide)).map_err(|_| self.inconsistent("a length is out of range"))
    }

    fn push(&mut self, object: Object) -> Result<(), Fault> {
        if self.heap.objects.len() == MOST_OBJECTS {
            return Err(Fault::PickleTooLarge { limit: MOST_OBJECTS, unit: "values" });
        }
        self.heap.objects.push(object);
        self.stack.push(self.heap.objects.len() - 1);
        Ok(())
    }

    fn push_int(&mut self, read: impl FnOnce(&mut Self) -> Result<i64, Fault>) -> Result<(), Fault> {
        let value = read(self)?;
        self.push(Object::Int(value))
    }

    /// LONG1: a two's complement number of any width. Those beyond 64 bits are no sizes.
    fn long(&mut self) -> Result<(), Fault> {
        let width = self.length(1)?;
        let bytes = self.take(width)?;
        let filler = if bytes.last().is_some_and(|byte| byte >> 7 == 1) { 0xff } else { 0 };
        let mut wide = [filler; 8];
        let object = match wide.get_mut(..width) {
            Some(low) => {
                low.copy_from_slice(bytes);
                Object::Int(i64::from_le_bytes(wide))
            }
            None => Object::Other,
        };
        self.push(object)
    }

    fn text(&mut self, width: usize) -> Result<(), Fault> {
        let length = self.length(width)?;
        let text = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.push(Object::Text(text))
    }

    fn bytes_as_other(&mut self, width: usize) -> Result<(), Fault> {
        let length = self.length(width)?;
        self.skip_as_other(length)
    }

    fn skip_as_other(&mut self, length: usize) -> Result<(), Fault> {
        self.skip(length)?;
        self.push(Object::Other)
    }

    /// The height below which the instructions since the last mark must not reach.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Result<Id, Fault> {
        self.stack[self.floor()..].last().copied().ok_or_else(|| self.inconsistent("the stack is empty"))
    }

    fn pop(&mut self) -> Result<Id, Fault> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_marked(&mut self) -> Result<Vec<Id>, Fault> {
        let mark = self.marks.pop().ok_or_else(|| self.inconsistent("there is no mark"))?;
        Ok(self.stack.split_off(mark))
    }

    fn marked(&mut self, make: impl FnOnce(Vec<Id>) -> Object) -> Result<(), Fault> {
        let items = self.pop_marked()?;
        self.push(make(items))
    }

    fn tuple(&mut self, count: usize) -> Result<(), Fault> {
        let start = self.stack.len().checked_sub(count).filter(|&start| start >= self.floor());
        let start = start.ok_or_else(|| self.inconsistent("the stack is empty"))?;
        let items = self.stack.split_off(start);
        self.push(Object::Tuple(items))
    }

    /// Extends the list on top; other containers, such as a deque, are nothing a tensor depends on.
    fn append(&mut self, items: Vec<Id>) -> Result<(), Fault> {
        let top = self.top()?;
        if let Object::List(list) = &mut self.heap.objects[top] {
            list.extend(items);
        }
        Ok(())
    }

    fn set_items(&mut self, items: Vec<Id>) -> Result<(), Fault> {
        if items.len() % 2 == 1 {
            return Err(self.inconsistent("a dictionary's key has no value"));
        }
        let top = self.top()?;
        if let Object::Dict(dict) = &mut self.heap.objects[top] {
            dict.extend(items.as_chunks().0.iter().map(|&[key, value]| (key, value)));
        }
        Ok(())
    }

    fn remember(&mut self, index: u32) -> Result<(), Fault> {
        let top = self.top()?;
        self.memo.insert(index, top);
        Ok(())
    }

    fn recall(&mut self, index: u32) -> Result<(), Fault> {
        let id = self.memo.get(&index).copied();
        self.stack.push(id.ok_or_else(|| self.inconsistent("it recalls what it never stored"))?);
        Ok(())
    }

    fn global_name(&mut self) -> Result<String, Fault> {
        let module = self.line()?;
        let name = self.line()?;
        Ok(format!("{module}.{name}"))
    }

    fn global(&mut self) -> Result<(), Fault> {
        let name = self.global_name()?;
        let global = Global::find(&name)?;
        self.push(Object::Global(global))
    }

    fn stack_global(&mut self) -> Result<(), Fault> {
        let name = self.pop()?;
        let module = self.pop()?;
        let name = match (self.heap.text(module), self.heap.text(name)) {
            (Some(module), Some(name)) => format!("{module}.{name}"),
            _ => return Err(self.inconsistent("the name of a function is not a text")),
        };
        let global = Global::find(&name)?;
        self.push(Object::Global(global))
    }

    /// Does what calling one of the known functions would do; nothing is ever run.
    fn call(&mut self) -> Result<(), Fault> {
        let arguments = self.pop()?;
        let function = self.pop()?;
        let Object::Global(global) = *self.heap.get(function) else {
            return Err(self.inconsistent("it calls something that is not a function"));
        };
        let Some(arguments) = self.heap.sequence(arguments) else {
            return Err(self.inconsistent("a function's arguments are not a tuple"));
        };
        let result = global.call(&self.heap, arguments);
        let object = result?.ok_or_else(|| self.inconsistent("a function has the wrong arguments"))?;
        self.push(object)
    }

    fn persistent_id(&mut self) -> Result<(), Fault> {
        let id = self.pop()?;
        let storage = StorageView::from_persistent_id(&self.heap, id);
        let storage = storage.ok_or_else(|| self.inconsistent("a reference to a storage is malformed"))?;
        self.push(Object::Storage(storage))
    }
}
