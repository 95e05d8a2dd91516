//! Tables with aligned columns, whatever the cells contain.

use crate::{
    text::{Style, cut, escape, styled, width},
    units::format_size,
};

/// How many spaces are between two columns.
const GAP: usize = 2;

/// The narrowest that a column is cut to, in columns of the terminal.
const NARROWEST: usize = 12;

/// A column: the heading, and how its cells are aligned and cut.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    heading: &'static str,
    right: bool,
    may_be_cut: bool,
}

impl Column {
    /// A column that is aligned left and never cut: names, URLs, anything that people copy.
    pub(crate) const fn left(heading: &'static str) -> Self {
        Self { heading, right: false, may_be_cut: false }
    }

    /// A column that is aligned right and never cut: numbers.
    pub(crate) const fn right(heading: &'static str) -> Self {
        Self { heading, right: true, may_be_cut: false }
    }

    /// A column that is aligned left, and cut if the terminal is too narrow: words.
    pub(crate) const fn words(heading: &'static str) -> Self {
        Self { heading, right: false, may_be_cut: true }
    }
}

/// A cell of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    style: Option<Style>,
}

impl Cell {
    /// The cell in a style, which shows only with colour.
    #[must_use]
    pub(crate) fn styled(mut self, style: Style) -> Self {
        self.style = Some(style);
        self
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.into(), style: None }
    }
}

/// A size. The cell is empty if the driver gives none, or zero, which means the same.
pub(super) fn size(bytes: Option<u64>) -> Cell {
    bytes.filter(|bytes| *bytes > 0).map(format_size).unwrap_or_default().into()
}

/// Rows under headings. Control characters in cells are escaped, and an empty cell shows `-`. If
/// `width` is too narrow, the columns of words are cut, the widest first. The other columns stay
/// whole, and the terminal wraps them.
pub(crate) fn table(
    columns: &[Column],
    rows: Vec<Vec<Cell>>,
    width: Option<usize>,
    colour: bool,
) -> String {
    let heading =
        columns.iter().map(|column| Cell::from(column.heading).styled(Style::Bold)).collect();
    let mut lines: Vec<Vec<Cell>> = std::iter::once(heading).chain(rows).collect();
    for cell in lines.iter_mut().flatten() {
        cell.text =
            if cell.text.is_empty() { "-".to_owned() } else { escape(&cell.text).into_owned() };
    }
    let widths = widths(columns, &lines, width);
    let mut text = String::new();
    for line in &lines {
        let mut shown = String::new();
        let mut padding = 0;
        for ((column, cell), &columns) in columns.iter().zip(line).zip(&widths) {
            let words = cut(&cell.text, columns);
            let free = columns - self::width(&words);
            let (before, after) = if column.right { (free, 0) } else { (0, free) };
            shown.push_str(&" ".repeat(padding + before));
            shown.push_str(
                &cell.style.map_or_else(|| words.clone(), |style| styled(&words, style, colour)),
            );
            padding = after + GAP;
        }
        text.push_str(&shown);
        text.push('\n');
    }
    text
}

fn widths(columns: &[Column], lines: &[Vec<Cell>], available: Option<usize>) -> Vec<usize> {
    let widest = |index: usize| {
        lines.iter().filter_map(|line| line.get(index)).map(|cell| width(&cell.text)).max()
    };
    let mut widths: Vec<usize> =
        (0..columns.len()).map(|index| widest(index).unwrap_or(0)).collect();
    let Some(available) = available else {
        return widths;
    };
    let whole = widths.iter().sum::<usize>() + GAP * columns.len().saturating_sub(1);
    for _ in available..whole {
        let can_shrink = |index: &usize| columns[*index].may_be_cut && widths[*index] > NARROWEST;
        let Some(index) = (0..columns.len()).filter(can_shrink).max_by_key(|index| widths[*index])
        else {
            break;
        };
        widths[index] -= 1;
    }
    widths
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] =
        [Column::left("NAME"), Column::right("SIZE"), Column::words("WHY")];

    fn rows(cells: &[[&str; 3]]) -> Vec<Vec<Cell>> {
        cells.iter().map(|row| row.iter().map(|text| Cell::from(*text)).collect()).collect()
    }

    #[test]
    fn columns_line_up_and_no_line_ends_in_blanks() {
        let shown = table(
            &COLUMNS,
            rows(&[["vol1", "1 B", "a"], ["volume 漢字", "10 GiB", ""]]),
            None,
            false,
        );
        assert_eq!(
            shown,
            "NAME           SIZE  WHY\n\
             vol1            1 B  a\n\
             volume 漢字  10 GiB  -\n"
        );
    }

    #[test]
    fn control_characters_stay_inside_their_cell() {
        let shown = table(&COLUMNS, rows(&[["a\nb", "\u{1b}[2J", "x\ty"]]), None, false);
        assert_eq!(shown.lines().count(), 2);
        assert!(shown.contains("a\\nb  \\u{1b}[2J  x\\ty"), "{shown}");
    }

    #[test]
    fn words_are_cut_to_the_terminal_and_names_never() {
        let (name, words) = ("n".repeat(30), "w".repeat(100));
        let shown = table(&COLUMNS, rows(&[[&name, "1", &words]]), Some(60), false);
        assert!(shown.lines().all(|line| width(line) <= 60), "{shown}");
        assert!(shown.contains(&name) && shown.contains("www…"), "{shown}");
        let shown = table(&COLUMNS, rows(&[[&name, "1", &words]]), Some(10), false);
        assert!(shown.contains(&name), "{shown}");
        assert!(table(&COLUMNS, rows(&[[&name, "1", &words]]), None, false).contains(&words));
    }

    #[test]
    fn colour_does_not_move_the_columns() {
        let mut cells = rows(&[["a", "1", "x"], ["bb", "22", "y"]]);
        cells[0][0] = Cell::from("a").styled(Style::Red);
        let plain = table(&COLUMNS, cells.clone(), None, false);
        let coloured = table(&COLUMNS, cells, None, true);
        assert!(coloured.contains("\u{1b}[1;31ma\u{1b}[0m"));
        let without: String =
            coloured.replace("\u{1b}[1;31m", "").replace("\u{1b}[1m", "").replace("\u{1b}[0m", "");
        assert_eq!(without, plain);
    }
}
