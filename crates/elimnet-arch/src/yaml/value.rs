//! A YAML document as a tree that knows its lines.
//!
//! Built from the events of `saphyr-parser`: the serde readers lose the lines that errors have to name, and the tree of
//! `saphyr` itself can be made to recurse and to grow by aliases, which no file of ours needs and a hostile one might use.

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::error::YamlError;
use crate::block::Argument;

/// Lists and mappings inside each other; the language needs three.
const DEPTH: usize = 16;

/// A value and the line on which it starts, from 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Line, from 1.
    pub line: usize,
    /// What stands there.
    pub value: Value,
}

/// What YAML can say, by the rules of its core schema.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`, a number, a truth value or a string.
    Scalar(Argument),
    /// `[a, b]`.
    List(Vec<Node>),
    /// `key: value`, in the order of the file.
    Map(Vec<(String, Node)>),
}

impl Value {
    /// The value for an error message.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Scalar(scalar) => scalar.to_string(),
            Self::List(items) => format!("a list of {}", items.len()),
            Self::Map(_) => "a mapping".to_owned(),
        }
    }
}

/// The one document in `text`.
///
/// # Errors
/// [`YamlError::Syntax`].
pub fn read(text: &str, file: &str) -> Result<Node, YamlError> {
    let mut builder = Builder { file, open: Vec::new(), root: None };
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            let marker = error.marker();
            syntax(file, marker.line(), error.info())
        })?;
        builder.event(event, span)?;
    }
    Ok(builder.root.unwrap_or(Node { line: 1, value: Value::Scalar(Argument::Null) }))
}

fn syntax(file: &str, line: usize, reason: impl Into<String>) -> YamlError {
    YamlError::Syntax { file: file.to_owned(), line, reason: reason.into() }
}

struct Builder<'a> {
    file: &'a str,
    /// Collections whose end has not come yet, and for a mapping the key that waits for its value.
    open: Vec<(Node, Option<String>)>,
    root: Option<Node>,
}

impl Builder<'_> {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), YamlError> {
        let line = span.start.line();
        match event {
            Event::Scalar(text, style, _, _) => {
                let scalar =
                    if style == ScalarStyle::Plain { plain(&text) } else { Argument::Text(text.into()) };
                self.place(Node { line, value: Value::Scalar(scalar) })
            }
            Event::SequenceStart(..) => self.open(line, Value::List(Vec::new())),
            Event::MappingStart(..) => self.open(line, Value::Map(Vec::new())),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some((node, _)) => self.place(node),
                None => Err(syntax(self.file, line, "a list or mapping ends that was not started")),
            },
            Event::Alias(_) => Err(syntax(self.file, line, "aliases are not supported")),
            Event::DocumentStart(_) if self.root.is_some() => {
                Err(syntax(self.file, line, "a second document starts; expected one"))
            }
            _ => Ok(()),
        }
    }

    fn open(&mut self, line: usize, value: Value) -> Result<(), YamlError> {
        if self.open.len() == DEPTH {
            return Err(syntax(self.file, line, format!("more than {DEPTH} lists inside each other")));
        }
        self.open.push((Node { line, value }, None));
        Ok(())
    }

    /// Puts a finished value where it belongs: into the innermost open collection.
    fn place(&mut self, node: Node) -> Result<(), YamlError> {
        let Some((parent, key)) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match (&mut parent.value, key.take()) {
            (Value::Map(entries), Some(name)) => entries.push((name, node)),
            (Value::Map(entries), None) => {
                let Value::Scalar(scalar) = &node.value else {
                    return Err(syntax(self.file, node.line, "a key is a list or a mapping"));
                };
                let name = match scalar {
                    Argument::Text(text) => text.clone(),
                    other => other.to_string(),
                };
                if entries.iter().any(|(known, _)| *known == name) {
                    return Err(syntax(self.file, node.line, format!("key `{name}` is there twice")));
                }
                *key = Some(name);
            }
            (Value::List(items), _) => items.push(node),
            (Value::Scalar(_), _) => {} // scalars are never open
        }
        Ok(())
    }
}

/// An unquoted scalar by YAML's core schema.
fn plain(text: &str) -> Argument {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Argument::Null,
        "true" | "True" | "TRUE" => return Argument::Bool(true),
        "false" | "False" | "FALSE" => return Argument::Bool(false),
        _ => {}
    }
    let numeric = text.trim_start_matches(['-', '+']).starts_with(|c: char| c.is_ascii_digit() || c == '.');
    if !numeric {
        return Argument::Text(text.to_owned());
    }
    if let Ok(whole) = text.parse() {
        return Argument::Int(whole);
    }
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Argument::Float(number),
        _ => Argument::Text(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(text: &str) -> (usize, String) {
        match read(text, "test.yaml") {
            Err(YamlError::Syntax { line, reason, .. }) => (line, reason),
            other => panic!("expected a syntax error, got {other:?}"),
        }
    }

    #[test]
    fn scalars_follow_the_core_schema() {
        let text = |text: &str| Argument::Text(text.to_owned());
        for (plain_text, expected) in [
            ("~", Argument::Null),
            ("True", Argument::Bool(true)),
            ("-3", Argument::Int(-3)),
            ("+3", Argument::Int(3)),
            ("2.5", Argument::Float(2.5)),
            (".5", Argument::Float(0.5)),
            ("1e-3", Argument::Float(1e-3)),
            ("3x", text("3x")),
            ("inf", text("inf")),
            ("nan", text("nan")),
            ("1e999", text("1e999")),
            ("99999999999999999999", Argument::Float(1e20)),
            ("ReLU", text("ReLU")),
        ] {
            assert_eq!(plain(plain_text), expected, "{plain_text}");
        }
    }

    #[test]
    fn quoted_numbers_are_text() {
        let node = read("a: \"3\"", "test.yaml").expect("valid");
        let Value::Map(entries) = node.value else { panic!("expected a mapping") };
        assert_eq!(entries[0].1.value, Value::Scalar(Argument::Text("3".to_owned())));
    }

    #[test]
    fn lines_count_from_one() {
        let node = read("\n# comment\na: 1\nb:\n  - 2\n  - 3\n", "test.yaml").expect("valid");
        let Value::Map(entries) = node.value else { panic!("expected a mapping") };
        let Value::List(items) = &entries[1].1.value else { panic!("expected a list") };
        assert_eq!((entries[0].1.line, items[0].line, items[1].line), (3, 5, 6));
    }

    #[test]
    fn what_no_file_needs_is_refused_with_its_line() {
        assert_eq!(reason("a: &x 1\nb: *x").0, 2);
        assert_eq!(reason("a: 1\na: 2").0, 2);
        assert_eq!(reason("a: 1\n---\nb: 2\n"), (2, "a second document starts; expected one".to_owned()));
        assert_eq!(reason("a: 1\nb: [1,\n").0, 3);
        let deep = "[".repeat(100);
        assert!(reason(&deep).1.contains("inside each other"), "{:?}", reason(&deep));
    }
}
