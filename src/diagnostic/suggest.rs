//! Words beside the words people typed.
//!
//! Not here: where they stand in a file.

/// The candidate most like `word`, if one is near enough to have been meant: the same but for case, or about one wrong,
/// missing, extra or swapped letter in three.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let mut best = None;
    for candidate in candidates {
        let lower = candidate.to_lowercase();
        let distance = strsim::osa_distance(&word, &lower);
        let longest = word.chars().count().max(lower.chars().count());
        if distance <= (longest / 3).max(1) && distance < longest && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// `text` between backticks, fit for one line of a terminal: control characters are escaped, and long text is cut.
pub fn quoted(text: &str) -> String {
    format!("`{}`", escaped(text, 60))
}

/// `text` with its control characters escaped, cut after `longest` characters.
pub fn escaped(text: &str, longest: usize) -> String {
    let mut escaped = String::new();
    for (count, character) in text.chars().enumerate() {
        if count == longest {
            return escaped + "...";
        }
        if character.is_control() {
            escaped.extend(character.escape_default());
        } else {
            escaped.push(character);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVERS: [&str; 5] = ["Bailey", "Bona", "Campbell", "Clark", "Jaquez"];

    #[test]
    fn a_near_miss_is_recognised() {
        for (typed, meant) in [("Jaqez", "Jaquez"), ("clark", "Clark"), ("Bnoa", "Bona"), ("Cambell", "Campbell")] {
            assert_eq!(did_you_mean(typed, SERVERS), Some(meant));
        }
    }

    #[test]
    fn a_different_word_is_not() {
        for typed in ["Wilkes", "", "x", "Jaqu"] {
            assert_eq!(did_you_mean(typed, SERVERS), if typed == "Jaqu" { Some("Jaquez") } else { None }, "{typed}");
        }
        assert_eq!(did_you_mean("a", ["b"]), None);
    }

    #[test]
    fn quoted_text_cannot_drive_a_terminal() {
        assert_eq!(quoted("a\u{1b}[31m\n"), "`a\\u{1b}[31m\\n`");
        assert_eq!(quoted(&"x".repeat(61)), format!("`{}...`", "x".repeat(60)));
    }
}
