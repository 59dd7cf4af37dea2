//! A graph of figures in plain text: a column each, with its label written downwards below it.
//!
//! ```text
//!    #
//!    |
//! #  |
//! |o_|
//!
//! 4321
//! ssss
//! ```

/// Columns side by side. What is more follows below.
const COLUMNS_MAX: usize = 80;
const ROWS: usize = 4;
/// The top of a column, at a third of its row each.
const TOPS: [char; 3] = ['_', 'o', '#'];
/// What stands below the top.
const STEM: char = '|';

/// Draws the figures, with one's label beside it, between their least and their greatest.
pub fn draw(points: &[(String, u64)]) -> String {
    let figures = || points.iter().map(|&(_, figure)| figure);
    let least = figures().min().unwrap_or_default();
    let range = (figures().max().unwrap_or_default() - least).max(1);
    let steps = TOPS.len() * ROWS;
    let height = |figure: u64| {
        let step = (figure - least) as f64 / range as f64 * steps as f64;
        (step as usize).min(steps - 1)
    };
    let mut text = String::new();
    for (index, points) in points.chunks(COLUMNS_MAX).enumerate() {
        text += if index > 0 { "\n" } else { "" };
        for row in (0..ROWS).rev() {
            let cell = |&(_, figure): &(String, u64)| {
                let (top, third) = (height(figure) / TOPS.len(), height(figure) % TOPS.len());
                match row {
                    _ if row < top => STEM,
                    _ if row == top => TOPS[third],
                    _ => ' ',
                }
            };
            text.extend(points.iter().map(cell).chain(['\n']));
        }
        let longest = points.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
        text.extend(std::iter::repeat_n(' ', points.len()).chain(['\n']));
        for row in 0..longest {
            let letter = |(label, _): &(String, u64)| label.chars().nth(row).unwrap_or(' ');
            text.extend(points.iter().map(letter).chain(['\n']));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(points: &[(&str, u64)], expect: &[&str]) {
        let points: Vec<(String, u64)> =
            points.iter().map(|&(label, figure)| (label.to_owned(), figure)).collect();
        assert_eq!(draw(&points).lines().collect::<Vec<_>>(), expect);
    }

    #[test]
    fn columns_reach_as_high_as_their_figures() {
        check(
            &[("4s", 50), ("3s", 30), ("2s", 20), ("10s", 82)],
            &["   #", "   |", "#  |", "|o_|", "    ", "4321", "sss0", "   s"],
        );
    }

    #[test]
    fn what_is_more_than_a_line_follows_below() {
        let text = draw(&vec![("1s".to_owned(), 1); COLUMNS_MAX + 1]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[5..],
            [&"1".repeat(80), &"s".repeat(80), "", " ", " ", " ", "_", " ", "1", "s"]
        );
    }

    #[test]
    fn one_figure_lies_low() {
        check(&[("1m", 7)], &[" ", " ", " ", "_", " ", "1", "m"]);
    }
}
