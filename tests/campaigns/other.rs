//! A second volume, which commands make and remove.

use super::content::Content;

/// Its name.
pub(super) const OTHER: &str = "other";

/// What is known of it.
#[derive(Debug)]
pub(super) struct Other {
    may_be_there: bool,
    may_be_gone: bool,
    /// What it has if it is there; `None` for what some backup has.
    content: Option<Content>,
}

impl Default for Other {
    fn default() -> Self {
        Self { may_be_there: false, may_be_gone: true, content: None }
    }
}

impl Other {
    /// A command that makes or removes it has ended.
    pub(super) fn ended(&mut self, line: &str, is_well: bool) {
        match line.split(' ').next() {
            Some("remove") => {
                (self.may_be_there, self.may_be_gone) = (self.may_be_there && !is_well, true);
            }
            made => {
                self.content = (made == Some("create")).then(Content::new);
                (self.may_be_there, self.may_be_gone) = (true, !is_well);
            }
        }
    }

    /// It is there with this content, or not at all. `is_whole` tells whether that is what a backup has.
    pub(super) fn is(&mut self, is: Option<Content>, is_whole: impl Fn(&Content) -> bool) {
        match &is {
            None => assert!(self.may_be_gone, "the second volume is gone"),
            Some(content) => {
                assert!(self.may_be_there, "the second volume was not made, or was removed");
                let is_right =
                    self.content.as_ref().map_or_else(|| is_whole(content), |it| it == content);
                assert!(is_right, "the second volume is half made, or half removed");
            }
        }
        *self = Self { may_be_there: is.is_some(), may_be_gone: is.is_none(), content: is };
    }
}
