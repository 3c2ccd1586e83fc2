//! From text to rows, and from rows to a network.

use super::arguments::{Arguments, LIMIT};
use super::error::{Place, YamlError};
use super::module::{self, Signature};
use super::scope::{Scope, Trunk};
use super::value::{self, Node, Value};
use crate::block::{Argument, Block};
use crate::head::Head;
use crate::layer::{Layer, Op};
use crate::network::Network;

/// Repeats of one row; the deepest networks in use have a tenth of it.
const MOST_REPEATS: usize = 1000;
/// Blocks of a network.
const MOST_BLOCKS: usize = 4096;

/// A model file.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelFile {
    /// The network, named after the file.
    pub network: Network,
    /// Whether the file wants the weights of [`Network::pretrained_as`].
    pub pretrained: bool,
    /// All keys of the file with their values, in its order.
    pub keys: Vec<(String, Node)>,
}

/// Reads a model file; `file` is what errors call it, and its stem names the network.
///
/// ```
/// use elimnet_arch::yaml;
///
/// let text = "
/// input_channel: 3
/// backbone:
///   - [1, Resnet18, [128, True]]
///   - [1, GlobalAvgPool, []]
///   - [1, Flatten, []]
///   - [1, Linear, [6]]
/// ";
/// let file = yaml::parse(text, "configs/resnet18_elim_2.yaml")?;
/// assert_eq!(file.network.name, "resnet18_elim_2");
/// assert_eq!(file.network.parameters(), 683_846);
/// assert!(file.pretrained);
/// # Ok::<(), yaml::YamlError>(())
/// ```
///
/// # Errors
/// See [`YamlError`]; all but [`YamlError::Table`] and [`YamlError::MissingKey`] name a line.
pub fn parse(text: &str, file: &str) -> Result<ModelFile, YamlError> {
    let root = value::read(text, file)?;
    let Value::Map(keys) = root.value else {
        let expected = "a mapping with `input_channel` and `backbone`";
        return Err(kind(file, root.line, "the file", expected, &root.value));
    };
    let header = Header::read(file, &keys)?;
    let rows = rows(file, required(file, &keys, "backbone")?)?;
    let (network, pretrained) = Table { file, header, rows }.network()?;
    Ok(ModelFile { network, pretrained, keys })
}

struct Header {
    input_channels: usize,
    depth_multiple: f64,
    width_multiple: f64,
}

impl Header {
    fn read(file: &str, keys: &[(String, Node)]) -> Result<Self, YamlError> {
        let node = required(file, keys, "input_channel")?;
        let Value::Scalar(Argument::Int(input_channels @ 1..=1024)) = node.value else {
            let expected = "a whole number from 1 to 1024";
            return Err(kind(file, node.line, "key `input_channel`", expected, &node.value));
        };
        Ok(Self {
            input_channels: input_channels as usize,
            depth_multiple: multiple(file, keys, "depth_multiple")?,
            width_multiple: multiple(file, keys, "width_multiple")?,
        })
    }
}

fn multiple(file: &str, keys: &[(String, Node)], key: &str) -> Result<f64, YamlError> {
    let Some(node) = find(keys, key) else { return Ok(1.0) };
    let number = match node.value {
        Value::Scalar(Argument::Int(whole)) => whole as f64,
        Value::Scalar(Argument::Float(number)) => number,
        _ => f64::NAN,
    };
    if number > 0.0 && number <= 1000.0 {
        return Ok(number);
    }
    Err(kind(file, node.line, &format!("key `{key}`"), "a number above 0, at most 1000", &node.value))
}

fn find<'a>(keys: &'a [(String, Node)], key: &str) -> Option<&'a Node> {
    keys.iter().find(|(name, _)| name == key).map(|(_, node)| node)
}

fn required<'a>(file: &str, keys: &'a [(String, Node)], key: &'static str) -> Result<&'a Node, YamlError> {
    find(keys, key).ok_or_else(|| YamlError::MissingKey { file: file.to_owned(), key })
}

fn kind(file: &str, line: usize, what: &str, expected: &'static str, found: &Value) -> YamlError {
    YamlError::Kind { file: file.to_owned(), line, what: what.to_owned(), expected, found: found.describe() }
}

/// A row of `backbone`.
struct Row {
    place: Box<Place>,
    repeats: usize,
    signature: &'static Signature,
    arguments: Vec<Argument>,
}

fn rows(file: &str, backbone: &Node) -> Result<Vec<Row>, YamlError> {
    let expected = "a list of [repeat, module, [arguments]]";
    match &backbone.value {
        Value::List(rows) if !rows.is_empty() => {
            rows.iter().enumerate().map(|(row, node)| Row::read(file, row, node)).collect()
        }
        other => Err(kind(file, backbone.line, "key `backbone`", expected, other)),
    }
}

impl Row {
    fn read(file: &str, row: usize, node: &Node) -> Result<Self, YamlError> {
        let what = |part: &str| format!("{part}row {row}");
        let triple = match &node.value {
            Value::List(items) => <&[Node; 3]>::try_from(items.as_slice()).ok(),
            _ => None,
        };
        let Some([repeats, name, arguments]) = triple else {
            return Err(kind(file, node.line, &what(""), "[repeat, module, [arguments]]", &node.value));
        };
        let Value::Scalar(Argument::Text(module)) = &name.value else {
            return Err(kind(file, name.line, &what("the module of "), "a name", &name.value));
        };
        let Value::Scalar(Argument::Int(count @ 1..=1000)) = repeats.value else {
            let expected = "a whole number from 1 to 1000";
            return Err(kind(file, repeats.line, &what("the repeat of "), expected, &repeats.value));
        };
        let Value::List(arguments) = &arguments.value else {
            let found = &arguments.value;
            return Err(kind(
                file,
                arguments.line,
                &what("the third item of "),
                "a list of arguments",
                found,
            ));
        };
        let place = Box::new(Place { file: file.to_owned(), line: node.line, row, module: module.clone() });
        let Some(signature) = module::find(module) else {
            return Err(YamlError::UnknownModule { nearest: module::nearest(module), place });
        };
        let scalar = |(index, node): (usize, &Node)| match &node.value {
            Value::Scalar(scalar) => Ok(scalar.clone()),
            other => {
                let argument = format!("argument {} of row {row} ({module})", index + 1);
                Err(kind(file, node.line, &argument, "a number, a name, True, False or null", other))
            }
        };
        let arguments = arguments.iter().enumerate().map(scalar).collect::<Result<_, _>>()?;
        Ok(Self { place, repeats: count as usize, signature, arguments })
    }

    /// How often the module stands there.
    fn scaled_repeats(&self, depth_multiple: f64) -> Result<usize, YamlError> {
        if self.repeats == 1 {
            return Ok(1);
        }
        if !self.signature.repeats {
            return Err(self.misplaced("can't be repeated"));
        }
        let repeats = (self.repeats as f64 * depth_multiple).round_ties_even().max(1.0) as usize;
        if repeats > MOST_REPEATS {
            return Err(self.misplaced(format!("{repeats} repeats, expected at most {MOST_REPEATS}")));
        }
        Ok(repeats)
    }

    fn misplaced(&self, reason: impl Into<String>) -> YamlError {
        YamlError::Row { place: self.place.clone(), reason: reason.into() }
    }
}

struct Table<'a> {
    file: &'a str,
    header: Header,
    rows: Vec<Row>,
}

/// The blocks of a table, and of each row how many there are.
struct Built {
    blocks: Vec<Block>,
    counts: Vec<usize>,
    trunk: Option<Trunk>,
}

impl Table<'_> {
    fn network(&self) -> Result<(Network, bool), YamlError> {
        let Built { mut blocks, counts, trunk } = self.build()?;
        let head_row = self.head_row(&blocks, &counts)?;
        let mut head = blocks.split_off(counts[..head_row].iter().sum());
        if blocks.is_empty() {
            return Err(self.error("nothing stands before the head"));
        }
        let mut classifier = last_linear(&head).unwrap_or_else(|| "classifier".to_owned());
        if let Some(trunk) = &trunk
            && head_row == 1
            && self.is_plain_head()
        {
            classifier.clone_from(&trunk.classifier);
            rename(&mut head, &trunk.head, &classifier);
        }
        let network = Network {
            name: stem(self.file).to_owned(),
            pretrained_as: trunk.as_ref().map(|trunk| trunk.family.to_owned()),
            input_channels: self.header.input_channels,
            blocks,
            head,
            classifier,
        };
        network.validate().map_err(|source| YamlError::Network { file: self.file.to_owned(), source })?;
        Ok((network, trunk.is_some_and(|trunk| trunk.pretrained)))
    }

    fn build(&self) -> Result<Built, YamlError> {
        let mut built = Built { blocks: Vec::new(), counts: Vec::new(), trunk: None };
        let (mut channels, mut pixels) = (self.header.input_channels, None);
        for row in &self.rows {
            let before = built.blocks.len();
            let mut scope = Scope {
                channels,
                pixels,
                width_multiple: self.header.width_multiple,
                row: row.place.row,
                repeats: row.scaled_repeats(self.header.depth_multiple)?,
                blocks: &mut built.blocks,
                trunk: &mut built.trunk,
            };
            let arguments = Arguments::new(&row.place, row.signature, &row.arguments)?;
            (row.signature.build)(&arguments, &mut scope)?;
            (channels, pixels) = (scope.channels, scope.pixels);
            if channels > LIMIT {
                return Err(row.misplaced(format!("makes {channels} channels, expected at most {LIMIT}")));
            }
            built.number(before);
            if built.blocks.len() > MOST_BLOCKS {
                return Err(row.misplaced(format!("the network has more than {MOST_BLOCKS} blocks here")));
            }
        }
        Ok(built)
    }

    /// The row with which the head starts.
    fn head_row(&self, blocks: &[Block], counts: &[usize]) -> Result<usize, YamlError> {
        let mut rest = blocks;
        let mut last_spatial = None;
        for (row, &count) in counts.iter().enumerate() {
            let (own, after) = rest.split_at(count);
            if own.iter().flat_map(|block| &block.layers).any(looks_at_neighbours) {
                last_spatial = Some(row);
            }
            rest = after;
        }
        let first = last_spatial.map_or(0, |row| row + 1);
        let head = self.rows[first..].iter().position(|row| row.signature.may_start_head);
        head.map(|offset| first + offset).ok_or_else(|| {
            let reason = "no GlobalAvgPool, Flatten or Linear after the last convolution or pooling over pixels: \
                          the table has no head";
            self.error(reason)
        })
    }

    /// Whether exactly GlobalAvgPool, Flatten and Linear, without further arguments, follow the first row.
    fn is_plain_head(&self) -> bool {
        let head = self.rows[1..].iter().map(|row| (row.signature.module, row.arguments.as_slice()));
        let absent = |argument: Option<&Argument>| matches!(argument, None | Some(Argument::Null));
        match head.collect::<Vec<_>>().as_slice() {
            [("GlobalAvgPool", pool), ("Flatten", _), ("Linear", linear)] => {
                (absent(pool.first()) || pool[0] == Argument::Int(1)) && absent(linear.get(1))
            }
            _ => false,
        }
    }

    fn error(&self, reason: &str) -> YamlError {
        YamlError::Table { file: self.file.to_owned(), reason: reason.to_owned() }
    }
}

impl Built {
    /// Gives the blocks from `before` on, those of one row of the file, their rows in the network's table: a trunk's blocks
    /// have a row each, repeats share one.
    fn number(&mut self, before: usize) {
        let start = before.checked_sub(1).map_or(0, |last| self.blocks[last].row + 1);
        let each = self.trunk.is_some() && before == 0;
        for (offset, block) in self.blocks[before..].iter_mut().enumerate() {
            block.row = if each { start + offset } else { start };
        }
        self.counts.push(self.blocks.len() - before);
    }
}

fn looks_at_neighbours(layer: &Layer) -> bool {
    match &layer.op {
        Op::Conv2d(conv) => conv.kernel != [1, 1],
        Op::MaxPool(_) | Op::AvgPool(_) => true,
        _ => false,
    }
}

/// Path of the last Linear.
fn last_linear(blocks: &[Block]) -> Option<String> {
    let mut layers = blocks.iter().rev().flat_map(|block| block.layers.iter().rev());
    layers.find(|layer| matches!(layer.op, Op::Linear(_))).and_then(|layer| layer.path.clone())
}

/// Replaces a plain head by the same one under the family's names; rows and arguments stay.
fn rename(head: &mut [Block], replaced: &[Block], classifier: &str) {
    let linear = head.iter().flat_map(|block| &block.layers).find_map(|layer| match &layer.op {
        Op::Linear(linear) => Some(linear.clone()),
        _ => None,
    });
    let Some(linear) = linear else { return };
    let named = Head::after_cut(replaced, classifier, linear.in_features, linear.out_features, 0);
    for (block, named) in head.iter_mut().zip(named) {
        *block = Block { row: block.row, arguments: std::mem::take(&mut block.arguments), ..named };
    }
}

/// A file's name without folders and ending.
fn stem(file: &str) -> &str {
    let name = file.rsplit(['/', '\\']).next().unwrap_or(file);
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}
