//! HTML and SVG as a tree that escapes by construction: what users named can't become markup.

use std::fmt::{self, Display, Formatter, Write};

/// An element with its attributes and content.
#[derive(Clone, Debug)]
pub(super) struct Element {
    name: &'static str,
    attributes: Vec<(&'static str, String)>,
    content: Vec<Node>,
}

#[derive(Clone, Debug)]
enum Node {
    Text(String),
    Element(Element),
    /// Our own style sheet or script, which HTML does not unescape.
    Verbatim(&'static str),
}

/// An element of this name.
pub(super) fn element(name: &'static str) -> Element {
    Element { name, attributes: Vec::new(), content: Vec::new() }
}

impl Element {
    /// # Panics
    /// If it is a `style` or a handler: the page's policy forbids both.
    pub(super) fn with(mut self, attribute: &'static str, value: impl Display) -> Self {
        assert!(attribute != "style" && !attribute.starts_with("on"), "attribute {attribute}");
        self.attributes.push((attribute, value.to_string()));
        self
    }

    pub(super) fn class(self, class: impl Display) -> Self {
        self.with("class", class)
    }

    pub(super) fn text(mut self, text: impl Display) -> Self {
        self.content.push(Node::Text(text.to_string()));
        self
    }

    pub(super) fn child(mut self, child: Element) -> Self {
        self.content.push(Node::Element(child));
        self
    }

    pub(super) fn children(mut self, children: impl IntoIterator<Item = Element>) -> Self {
        self.content.extend(children.into_iter().map(Node::Element));
        self
    }

    pub(super) fn verbatim(mut self, text: &'static str) -> Self {
        self.content.push(Node::Verbatim(text));
        self
    }

    fn is_void(&self) -> bool {
        matches!(self.name, "meta" | "img" | "br")
    }

    /// A line break behind it changes nothing that is seen, and makes the source readable.
    fn is_block(&self) -> bool {
        const BLOCKS: [&str; 22] = [
            "html", "head", "body", "meta", "title", "style", "script", "header", "main", "section",
            "footer", "h1", "h2", "h3", "p", "div", "figure", "table", "tr", "svg", "g", "details",
        ];
        BLOCKS.contains(&self.name)
    }
}

impl Display for Element {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "<{}", self.name)?;
        for (name, value) in &self.attributes {
            write!(f, " {name}=\"")?;
            escape(value, f)?;
            f.write_char('"')?;
        }
        f.write_char('>')?;
        for node in &self.content {
            match node {
                Node::Text(text) => escape(text, f)?,
                Node::Element(element) => element.fmt(f)?,
                Node::Verbatim(text) => f.write_str(text)?,
            }
        }
        if !self.is_void() {
            write!(f, "</{}>", self.name)?;
        }
        if self.is_block() { f.write_char('\n') } else { Ok(()) }
    }
}

/// Right in text and in quoted attributes. What XML forbids (control characters) would make the page invalid.
fn escape(text: &str, f: &mut Formatter<'_>) -> fmt::Result {
    for character in text.chars() {
        match character {
            '&' => f.write_str("&amp;")?,
            '<' => f.write_str("&lt;")?,
            '>' => f.write_str("&gt;")?,
            '"' => f.write_str("&quot;")?,
            '\'' => f.write_str("&#39;")?,
            '\t' | '\n' | ' ' => f.write_char(character)?,
            control if control.is_control() => f.write_char('\u{FFFD}')?,
            other => f.write_char(other)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_never_becomes_markup() {
        let name = "<script>alert(\"1\")</script> & 'so' \0";
        let found = element("p").with("title", name).text(name).to_string();
        let escaped = "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; &#39;so&#39; \u{FFFD}";
        assert_eq!(found, format!("<p title=\"{escaped}\">{escaped}</p>\n"));
    }

    #[test]
    fn elements_nest_and_void_ones_have_no_end() {
        let found = element("td").child(element("img").with("alt", "")).text("7").to_string();
        assert_eq!(found, "<td><img alt=\"\">7</td>");
    }

    #[test]
    #[should_panic(expected = "attribute onclick")]
    fn handlers_are_refused() {
        let _ = element("p").with("onclick", "alert(1)");
    }
}
