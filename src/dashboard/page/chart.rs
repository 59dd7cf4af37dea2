//! Charts, drawn as SVG. Sizes and places are attributes: a style would be refused.

use maud::{Markup, html};
use std::fmt::{self, Display, Formatter, Write};

/// Seconds that one point of a line stands for.
const SECONDS_A_POINT: usize = 2;

const HEIGHT: f64 = 22.0;
/// Of the highest point from the upper edge, and of zero from the lower one.
const MARGIN: (f64, f64) = (2.0, 1.0);

/// A place in a chart, to the tenth: an overview has thousands, and exact digits of each took a
/// fifth of its time.
struct Tenths(f64);

impl Display for Tenths {
    fn fmt(&self, out: &mut Formatter) -> fmt::Result {
        let tenths = (self.0 * 10.0).round() as i64;
        let sign = if tenths < 0 { "-" } else { "" };
        write!(out, "{sign}{}.{}", tenths.abs() / 10, tenths.abs() % 10)
    }
}

/// Jobs that ended in each second up to the one that is now, as a line; those that failed as ticks
/// at its foot. A point that is not over yet is left out: it would be lower than it is going to be.
pub fn spark(ended: &[(u32, u32)], now_ms: i64, width: u32) -> Markup {
    // Points begin at the same seconds for as long as they are drawn.
    let unfinished = 1 + (now_ms / 1000) as usize % SECONDS_A_POINT;
    let points: Vec<(u32, u32)> = ended[..ended.len().saturating_sub(unfinished)]
        .rchunks_exact(SECONDS_A_POINT)
        .rev()
        .map(|chunk| chunk.iter().fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1)))
        .collect();
    let highest = points.iter().map(|(all, _)| *all).max().unwrap_or(0).max(1);
    let step = f64::from(width) / (points.len().max(2) - 1) as f64;
    let floor = HEIGHT - MARGIN.1;
    let y = |count: u32| floor - f64::from(count) / f64::from(highest) * (floor - MARGIN.0);
    let mut line = String::new();
    for (at, (all, _)) in points.iter().enumerate() {
        let command = if at == 0 { 'M' } else { 'L' };
        // A line that stays level needs no points between.
        let is_level = |beside: Option<usize>| {
            beside.and_then(|at| points.get(at)).is_some_and(|it| it.0 == *all)
        };
        if !(is_level(at.checked_sub(1)) && is_level(Some(at + 1))) {
            let _ = write!(line, "{command}{} {}", Tenths(at as f64 * step), Tenths(y(*all)));
        }
    }
    let area = format!("{line}L{width} {HEIGHT}L0 {HEIGHT}Z");
    html! {
        svg class="spark" width=(width) height=(HEIGHT) viewBox={ "0 0 " (width) " " (HEIGHT) }
            preserveAspectRatio="none" aria-hidden="true" {
            path class="area" d=(area) {}
            path class="line" d=(line) {}
            @for (at, (_, failed)) in points.iter().enumerate() {
                @if *failed > 0 {
                    @let height = (floor - y(*failed)).clamp(2.0, 8.0);
                    rect class="bad" x=(Tenths(at as f64 * step - 1.0).to_string())
                        y=(Tenths(floor - height).to_string()) width="2"
                        height=(Tenths(height).to_string()) rx="1" {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_to_the_tenth() {
        for (place, told) in [(0.0, "0.0"), (-1.0, "-1.0"), (5.17, "5.2"), (149.96, "150.0")] {
            assert_eq!(Tenths(place).to_string(), told);
        }
        assert_eq!(Tenths(-0.25).to_string(), "-0.3");
    }

    #[test]
    fn a_steady_load_is_a_level_line_to_its_end() {
        let mut ended = vec![(10, 0); 60];
        ended[59] = (3, 0);
        for now_ms in [1_790_000_000_300, 1_790_000_001_300] {
            let drawn = spark(&ended, now_ms, 112).into_string();
            let (_, line) = drawn.split_once(r#"class="line" d=""#).expect("it has a line");
            let line = line.split_once('"').expect("it ends").0;
            assert_eq!(line, "M0.0 2.0L112.0 2.0", "{drawn}");
        }
    }

    #[test]
    fn a_line_has_the_points_at_which_it_turns() {
        let mut ended = vec![(0, 0); 60];
        ended[21..41].fill((5, 0));
        let drawn = spark(&ended, 1_790_000_000_300, 112).into_string();
        let line = "M0.0 21.0L36.0 21.0L40.0 2.0L76.0 2.0L80.0 21.0L112.0 21.0";
        assert!(drawn.contains(&format!(r#"class="line" d="{line}""#)), "{drawn}");
    }
}
