//! Reads lines in the form of /etc/crontab: `root cd /deploy && node create.js --backup
//! --volume vol2`.
//!
//! In a line that calls create.js (or this program), only the arguments of that call count. The
//! words in front of the call (`cd`, a user) and the redirection of its output are ignored. Another
//! command behind the call is an error.

use super::{
    line::LineError,
    words::{self, Word},
};

/// The words of the call. `None`: the line does not have the old form.
pub(super) fn call(words: &[Word]) -> Option<Result<Vec<Word>, LineError>> {
    // `bash -c "cd /deploy && node create.js --backup"`
    if let Some(inner) = words.iter().find(|word| word.quoted && word.text.contains("create.js ")) {
        let split =
            words::split(&inner.text, 0).map_err(|wrong| LineError { at: inner.at, ..wrong });
        return match split {
            Ok(mut inside) => {
                inside.iter_mut().for_each(|word| word.at = inner.at);
                call(&inside)
            }
            Err(wrong) => Some(Err(wrong)),
        };
    }
    let is_program = |word: &Word| {
        matches!(word.text.rsplit('/').next(), Some("create.js" | "convoy-backups"))
            && !word.text.starts_with('-')
    };
    let index = words.iter().position(is_program)?;
    let lost = words[..index]
        .iter()
        .find(|word| word.text.starts_with("BKUP_") && word.text.contains('='));
    if let Some(word) = lost {
        return Some(Err(LineError::new(
            word.at,
            "a setting can't stand in front of a command here",
        )
        .hint("put it on a line of its own above: it holds for all lines below it")));
    }
    let mut given: Vec<Word> = Vec::new();
    for word in &words[index + 1..] {
        if is_redirection(word) {
            break;
        }
        if is_operator(word) {
            return Some(Err(LineError::new(word.at, format!("what is behind \"{}\" can't be run here", word.text))
                .hint("a line runs one script of this program; what must follow it belongs into a script of yours")));
        }
        given.push(word.clone());
    }
    Some(Ok(given))
}

/// Whether a word is an operator of a shell, such as `&&`.
pub(super) fn is_operator(word: &Word) -> bool {
    !word.quoted
        && (matches!(word.text.as_str(), "&&" | "||" | "|" | ";" | "&" | "(" | ")")
            || word.text.ends_with(';'))
}

/// Whether a word redirects output: `>>`, `2>&1`, `| logger`.
pub(super) fn is_redirection(word: &Word) -> bool {
    let text =
        word.text.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '&');
    !word.quoted && (text.starts_with(['>', '<']) || word.text == "|")
}
