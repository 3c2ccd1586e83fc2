//! Names that look like one that was mistyped.

/// The candidates nearest to `text`, best first: at most three, or all where none is near.
pub fn nearest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut ranked: Vec<(usize, &str)> =
        candidates.into_iter().map(|candidate| (distance(text, candidate), candidate)).collect();
    ranked.sort();
    let near = |&(distance, candidate): &(usize, &str)| {
        distance <= candidate.len() / 3 + 1 || (!text.is_empty() && candidate.starts_with(text))
    };
    let owned = |ranked: Vec<(usize, &str)>| ranked.into_iter().map(|(_, name)| name.to_owned()).collect();
    let found: Vec<_> = ranked.iter().copied().filter(near).take(3).collect();
    if found.is_empty() { owned(ranked) } else { owned(found) }
}

/// Levenshtein's distance: single characters put in, taken out or replaced, ignoring case.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, character) in a.to_lowercase().chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, &other) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(character != other);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_levenshteins() {
        let cases = [
            ("", "", 0),
            ("abc", "", 3),
            ("", "ab", 2),
            ("kitten", "sitting", 3),
            ("ResNet18", "resnet18", 0),
        ];
        for (a, b, expected) in cases {
            assert_eq!(distance(a, b), expected, "{a} {b}");
            assert_eq!(distance(b, a), expected, "{b} {a}");
        }
    }

    #[test]
    fn the_nearest_come_first_and_all_where_none_is_near() {
        let names = ["efficientnet_b0", "mobilenet_v2", "resnet18"];
        assert_eq!(nearest("resnet-18", names), ["resnet18"]);
        assert_eq!(nearest("eff", names), ["efficientnet_b0"]);
        assert_eq!(nearest("zzz", names).len(), 3);
    }
}
