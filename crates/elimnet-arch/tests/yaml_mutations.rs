//! The fuzz target's properties on some thousands of spoilt model files, so that they hold wherever the tests run.

use elimnet_arch::yaml;

/// Marsaglia's xorshift64: the same files on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

/// Pieces that mean something to the language.
const PIECES: [&str; 24] = [
    "0",
    "-1",
    "1048576",
    "99999999999999999999",
    "0.3",
    "1e300",
    ".nan",
    "null",
    "True",
    "\"",
    "[",
    "]",
    "{",
    "}",
    ": ",
    "\n",
    "  - ",
    "# ",
    "&a ",
    "*a",
    "Conv",
    "\"features.20\"",
    "---\n",
    "\u{feff}",
];

/// `text` with some places replaced, doubled or taken away.
fn spoil(text: &str, random: &mut Random) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    for _ in 0..=random.below(4) {
        let start = random.below(letters.len());
        let end = (start + random.below(12)).min(letters.len());
        let replacement: Vec<char> = match random.below(3) {
            0 => Vec::new(),
            1 => PIECES[random.below(PIECES.len())].chars().collect(),
            _ => letters[start..end].repeat(2),
        };
        letters.splice(start..end, replacement);
        if letters.is_empty() {
            break;
        }
    }
    letters.into_iter().collect()
}

/// The properties; whether the file was read.
fn check(text: &str) -> bool {
    let network = match yaml::parse(text, "input.yaml") {
        Ok(file) => file.network,
        Err(error) => {
            assert!(error.to_string().starts_with("input.yaml:"), "{error}");
            return false;
        }
    };
    network.validate().unwrap_or_else(|error| panic!("{error}\n{text}"));
    let tensors = network.tensors();
    let parameters = tensors.iter().filter(|tensor| tensor.kind.is_parameter());
    assert_eq!(parameters.map(|tensor| tensor.len()).sum::<usize>(), network.parameters(), "{text}");
    let input = network.input_shape(64);
    let Ok(cuts) = network.cuts(input) else { return true };
    let cut = &cuts[cuts.len() / 2];
    let short = network.cut_after(cut.index);
    assert_eq!(
        (short.parameters(), short.multiply_adds(input)),
        (cut.parameters, Ok(cut.multiply_adds)),
        "{text}"
    );
    true
}

#[test]
fn spoilt_files_are_refused_or_make_valid_networks() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs/model");
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let (mut read, mut refused) = (0, 0);
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("readable").path()).collect();
    paths.sort();
    for path in paths {
        let text = std::fs::read_to_string(path).expect("readable");
        for _ in 0..200 {
            if check(&spoil(&text, &mut random)) {
                read += 1;
            } else {
                refused += 1;
            }
        }
    }
    assert!(
        read > 200 && refused > 200,
        "{read} read, {refused} refused: the spoiling is too weak or too strong"
    );
}
