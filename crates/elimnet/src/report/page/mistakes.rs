//! The test images that the network is most wrong about.

use super::section;
use crate::evaluate::Mistake;
use crate::report::detail::RunDetail;
use crate::report::markup::{Element, element};
use crate::report::number::percent;

/// Pictures with what they are and what they were taken for; nothing where the run kept none.
pub(super) fn section_about(run: &RunDetail) -> Option<Element> {
    let mistakes = run.mistakes.as_deref()?;
    if mistakes.is_empty() {
        let heading = "Every test image is named right, so there is nothing to show.";
        return Some(section("mistakes", "The most confident mistakes", heading));
    }
    let introduction = "Test images that the network is surest about and wrong: where labels may be wrong, or where it \
                        looks at the wrong thing.";
    let pictures = element("div").class("mistakes").children(mistakes.iter().map(picture));
    Some(section("mistakes", "The most confident mistakes", introduction).child(pictures))
}

fn picture(mistake: &Mistake) -> Element {
    let Mistake { file, truth, predicted, probability, truth_probability, thumbnail } = mistake;
    let image = element("img")
        .with("src", thumbnail)
        .with("alt", format!("{truth}, taken for {predicted}"))
        .with("loading", "lazy");
    let caption = element("figcaption")
        .child(element("strong").text(truth))
        .text(" taken for ")
        .child(element("strong").text(predicted))
        .child(more(format!(
            "{} sure, gave the truth {}",
            percent(*probability),
            percent(*truth_probability)
        )))
        .child(more(file));
    element("figure").child(element("div").class("frame").child(image)).child(caption)
}

fn more(text: impl std::fmt::Display) -> Element {
    element("span").class("more").text(text)
}
