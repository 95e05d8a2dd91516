//! Splits a line into words by the quoting rules of a shell, each word with its place.

use super::line::LineError;

/// A word without its quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    /// Where the word begins, in bytes from the beginning of the line.
    pub(super) at: usize,
    /// A part of the word was quoted, so the word is no operator of a shell.
    pub(super) quoted: bool,
}

/// Splits the line from byte `from` on. Quotes and backslashes work as in a POSIX shell. Nothing is
/// expanded, `%` is an ordinary character, and `#` at the beginning of a word begins a comment.
pub(super) fn split(line: &str, from: usize) -> Result<Vec<Word>, LineError> {
    let mut words: Vec<Word> = Vec::new();
    let mut word: Option<Word> = None;
    let mut letters =
        line[from..].char_indices().map(|(at, letter)| (from + at, letter)).peekable();
    while let Some((at, letter)) = letters.next() {
        if matches!(letter, ' ' | '\t') {
            words.extend(word.take());
            continue;
        }
        if letter == '#' && word.is_none() {
            break;
        }
        let current = word.get_or_insert_with(|| Word { text: String::new(), at, quoted: false });
        match letter {
            '\'' | '"' => {
                current.quoted = true;
                loop {
                    match letters.next() {
                        None => {
                            return Err(LineError::new(at, format!("this {letter} is not closed"))
                                .hint("quotes are a shell's, and end on their line"));
                        }
                        Some((_, inner)) if inner == letter => break,
                        Some((_, '\\')) if letter == '"' => {
                            match letters
                                .next_if(|(_, next)| matches!(next, '$' | '`' | '"' | '\\'))
                            {
                                Some((_, escaped)) => current.text.push(escaped),
                                None => current.text.push('\\'),
                            }
                        }
                        Some((_, inner)) => current.text.push(inner),
                    }
                }
            }
            '\\' => match letters.next() {
                Some((_, escaped)) => {
                    current.quoted = true;
                    current.text.push(escaped);
                }
                None => {
                    return Err(LineError::new(at, "a line can't go on in the next one")
                        .hint("take the backslash away and write all of it on one line"));
                }
            },
            _ => current.text.push(letter),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::command_line;

    fn texts(line: &str) -> Vec<String> {
        split(line, 0).unwrap().into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn words_are_split_as_a_shell_splits_them() {
        assert_eq!(texts("a  b\tc"), ["a", "b", "c"]);
        assert_eq!(
            texts(r#"'a b' "c \"d\" \x" e\ f "" g'h'i"#),
            ["a b", r#"c "d" \x"#, "e f", "", "ghi"]
        );
        assert_eq!(texts("a # the rest"), ["a"]);
        assert_eq!(texts("a#b '#c' 100%"), ["a#b", "#c", "100%"]);
        assert_eq!(split("é 'x'", 0).unwrap()[1], Word { text: "x".into(), at: 3, quoted: true });
    }

    #[test]
    fn what_is_not_closed_is_pointed_at() {
        assert_eq!(split("a 'b", 0).unwrap_err().at, 2);
        assert_eq!(split("a \"b\\\"", 0).unwrap_err().at, 2);
        assert_eq!(split("a \\", 0).unwrap_err().at, 2);
    }

    #[test]
    fn joined_words_split_into_the_same() {
        let words = ["a b", "it's", "", "$x", "--volume=vol1", "plain", "a\\b"];
        assert_eq!(texts(&command_line(words)), words);
    }
}
