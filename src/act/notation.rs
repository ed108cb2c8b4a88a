//! How people write one way of a link.

/// Reads `a->b` or `a:b`, in which no shell sees a redirection. Returns the two ends without blanks around them, or `None`
/// if the text is no way.
pub fn split_way(text: &str) -> Option<(&str, &str)> {
    let (from, to) = text.split_once("->").or_else(|| text.split_once(':'))?;
    Some((from.trim(), to.trim()))
}

/// Writes a way the way reports show it: `a->b`.
pub fn arrow(from: &str, to: &str) -> String {
    format!("{from}->{to}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_has_an_arrow_or_a_colon() {
        assert_eq!(split_way("Clark->Bona"), Some(("Clark", "Bona")));
        assert_eq!(split_way("Clark:Bona"), Some(("Clark", "Bona")));
        assert_eq!(split_way(" Clark -> Bona "), Some(("Clark", "Bona")));
        assert_eq!(split_way("Clark-Bona"), None);
    }
}
