//! The terminal: whether to colour, its width, and the bars that show progress on standard error.

use std::{ffi::OsString, fmt::Write, io::IsTerminal, sync::Arc, time::Duration};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::{
    progress::{NoProgress, Piece, Progress},
    text::escape,
    units::{format_duration, format_size},
};

/// How often a bar is drawn without progress, so that the elapsed time goes on.
const REDRAW_INTERVAL: Duration = Duration::from_millis(200);

/// Whether to colour standard output.
pub(crate) fn colour_on_output() -> bool {
    wants_colour(std::io::stdout().is_terminal(), |name| std::env::var_os(name))
}

/// Whether to colour standard error.
pub(crate) fn colour_on_error() -> bool {
    wants_colour(std::io::stderr().is_terminal(), |name| std::env::var_os(name))
}

/// How many columns standard output has. `None`: it is no terminal.
pub(crate) fn output_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|width| *width > 0)
}

/// Whether to colour: `NO_COLOR` says no, `CLICOLOR_FORCE` says yes. Without both, a terminal that
/// knows colours gets them.
fn wants_colour(is_terminal: bool, variable: impl Fn(&str) -> Option<OsString>) -> bool {
    let is_set = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
    let is = |name: &str, text: &str| variable(name).is_some_and(|value| value == text);
    if is_set("NO_COLOR") {
        return false;
    }
    if is_set("CLICOLOR_FORCE") && !is("CLICOLOR_FORCE", "0") {
        return true;
    }
    is_terminal && !is("TERM", "dumb") && !is("CLICOLOR", "0")
}

/// The bars of all work that is under way, on standard error if that is a terminal. Clones share
/// the bars.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bars {
    drawn: Option<MultiProgress>,
}

impl Bars {
    /// Bars that are never shown.
    pub(crate) fn hidden() -> Self {
        Self::default()
    }

    /// Bars on standard error. They are hidden if `quiet`, if standard error is no terminal, or if
    /// the terminal can't move its cursor.
    pub(crate) fn on_error(quiet: bool) -> Self {
        let can_draw = std::io::stderr().is_terminal()
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        if quiet || !can_draw {
            Self::hidden()
        } else {
            Self::drawn_on(ProgressDrawTarget::stderr())
        }
    }

    fn drawn_on(target: ProgressDrawTarget) -> Self {
        Self { drawn: Some(MultiProgress::with_draw_target(target)) }
    }

    /// Does work while the bars are off the screen, so that they don't mix with what the work
    /// writes to the terminal.
    pub(crate) fn suspend<R>(&self, work: impl FnOnce() -> R) -> R {
        match &self.drawn {
            Some(bars) => bars.suspend(work),
            None => work(),
        }
    }
}

impl Progress for Bars {
    /// Adds a line for a piece of work. With a known total, the line is a bar with bytes, rate and
    /// time left, else a spinner with the elapsed time.
    fn begin(&self, what: &str, total: Option<u64>) -> Arc<dyn Piece> {
        let Some(bars) = &self.drawn else { return Arc::new(NoProgress) };
        // The bar is complete before it is added, because adding draws it at once.
        let bar = total.map_or_else(ProgressBar::no_length, ProgressBar::new);
        let style = if total.is_some() { bar_style() } else { spinner_style() };
        let bar = bars.add(bar.with_style(style).with_prefix(escape(what).into_owned()));
        bar.tick();
        bar.enable_steady_tick(REDRAW_INTERVAL);
        Arc::new(Line { bars: bars.clone(), bar })
    }
}

/// One line among the bars.
#[derive(Debug)]
struct Line {
    bars: MultiProgress,
    bar: ProgressBar,
}

impl Piece for Line {
    fn set_total(&self, total: u64) {
        self.bar.set_style(bar_style());
        self.bar.set_length(total);
    }

    fn advance(&self, bytes: u64) {
        self.bar.inc(bytes);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        self.bars.remove(&self.bar);
    }
}

const BAR: &str = "{prefix} [{bar:24}] {done} of {whole}{rate}{left}";
const SPINNER: &str = "{prefix} {spinner} {elapsed}{so_far}";

fn bar_style() -> ProgressStyle {
    style(BAR).progress_chars("=> ")
}

fn spinner_style() -> ProgressStyle {
    style(SPINNER)
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("done", words(|state| format_size(state.pos())))
        .with_key("whole", words(|state| format_size(state.len().unwrap_or(0))))
        .with_key("so_far", words_once_begun(|state| format_size(state.pos())))
        .with_key(
            "rate",
            words_once_begun(|state| format!("{}/s", format_size(state.per_sec() as u64))),
        )
        .with_key(
            "left",
            words_once_begun(|state| format!("{} left", format_duration(state.eta()))),
        )
}

/// A part of a bar.
fn words(of: fn(&ProgressState) -> String) -> impl Fn(&ProgressState, &mut dyn Write) + Clone {
    move |state, to| {
        let _ = to.write_str(&of(state));
    }
}

/// A part of a bar that is left out until something is done, because it can't be estimated before.
fn words_once_begun(
    of: fn(&ProgressState) -> String,
) -> impl Fn(&ProgressState, &mut dyn Write) + Clone {
    move |state, to| {
        if state.pos() > 0 {
            let _ = write!(to, ", {}", of(state));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Mutex};

    use indicatif::TermLike;

    use super::*;

    /// A terminal that notes its calls.
    #[derive(Debug, Clone, Default)]
    struct Recorder(Arc<Mutex<Vec<String>>>);

    impl Recorder {
        fn note(&self, what: &str) -> io::Result<()> {
            self.0.lock().unwrap().push(what.to_owned());
            Ok(())
        }

        fn take(&self) -> String {
            std::mem::take(&mut *self.0.lock().unwrap()).concat()
        }

        fn bars(&self) -> Bars {
            Bars::drawn_on(ProgressDrawTarget::term_like(Box::new(self.clone())))
        }
    }

    impl TermLike for Recorder {
        fn width(&self) -> u16 {
            120
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.note(text)
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.note(text)
        }
        fn clear_line(&self) -> io::Result<()> {
            self.note("<clear>")
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    fn colour(is_terminal: bool, variables: &[(&str, &str)]) -> bool {
        wants_colour(is_terminal, |name| {
            variables
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn colour_is_for_terminals_and_the_user_has_the_last_word() {
        for (is_terminal, variables, expected) in [
            (true, &[][..], true),
            (false, &[], false),
            (true, &[("NO_COLOR", "1")], false),
            (true, &[("NO_COLOR", "")], true),
            (true, &[("TERM", "dumb")], false),
            (true, &[("TERM", "xterm")], true),
            (true, &[("CLICOLOR", "0")], false),
            (false, &[("CLICOLOR_FORCE", "1")], true),
            (false, &[("CLICOLOR_FORCE", "0")], false),
            (false, &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], false),
        ] {
            assert_eq!(colour(is_terminal, variables), expected, "{is_terminal} {variables:?}");
        }
    }

    #[test]
    fn the_templates_are_valid() {
        for template in [BAR, SPINNER] {
            ProgressStyle::with_template(template).unwrap();
        }
    }

    #[test]
    fn a_known_total_is_a_bar_and_an_unknown_one_a_spinner_that_can_become_a_bar() {
        let terminal = Recorder::default();
        let bars = terminal.bars();
        let piece = bars.begin("snapshot vol1\n", Some(4 << 30));
        assert!(
            terminal.take().contains("snapshot vol1\\n [                        ] 0 B of 4.0 GiB")
        );
        drop(piece);
        terminal.take();
        let piece = bars.begin("backup vol1", None);
        let shown = terminal.take();
        assert!(
            shown.contains("backup vol1 ") && shown.contains("0s") && !shown.contains('['),
            "{shown}"
        );
        piece.advance(512);
        piece.set_total(1024);
        let shown = terminal.take();
        assert!(
            shown.contains("backup vol1 [============") && shown.contains("512 B of 1.0 KiB, "),
            "{shown}"
        );
        assert!(shown.contains("/s, ") && shown.contains(" left"), "{shown}");
    }

    #[test]
    fn bars_step_aside_for_a_line_of_the_log() {
        let terminal = Recorder::default();
        let bars = terminal.bars();
        let _piece = bars.begin("backup vol1", Some(100));
        terminal.take();
        bars.suspend(|| terminal.note("<log>").unwrap());
        let shown = terminal.take();
        let (before, after) = shown.split_once("<log>").unwrap();
        assert!(before.contains("<clear>") && !before.contains("backup"), "{shown}");
        assert!(after.contains("backup vol1"), "{shown}");
    }

    #[test]
    fn two_pieces_of_work_have_a_line_each_and_leave_none_behind() {
        let terminal = Recorder::default();
        let bars = terminal.bars();
        let [one, two] = ["one", "two"].map(|what| bars.begin(what, None));
        for (piece, done) in [(&one, 25), (&two, 50)] {
            piece.advance(done);
            piece.set_total(100);
        }
        terminal.take();
        bars.suspend(|| ());
        let shown = terminal.take();
        assert!(shown.contains("25 B of 100 B") && shown.contains("50 B of 100 B"), "{shown}");
        drop(one);
        terminal.take();
        bars.suspend(|| ());
        let shown = terminal.take();
        assert!(!shown.contains("one") && shown.contains("two"), "{shown}");
        drop(two);
        assert!(terminal.take().ends_with("<clear>"));
        bars.suspend(|| ());
        assert!(!terminal.take().contains("two"));
    }

    #[test]
    fn hidden_bars_do_nothing_but_the_work() {
        let bars = Bars::hidden();
        drop(bars.begin("x", Some(1)));
        assert_eq!(bars.suspend(|| 7), 7);
    }
}
