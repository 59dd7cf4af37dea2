//! Charts, drawn as SVG. Sizes and places are attributes: a style would be refused.

use maud::{Markup, html};
use std::fmt::Write;

/// Seconds that one point of a line stands for.
const SECONDS_A_POINT: usize = 2;

const HEIGHT: f64 = 22.0;
/// Of the highest point from the upper edge, and of zero from the lower one.
const MARGIN: (f64, f64) = (2.0, 1.0);

/// Jobs that ended in each second, as a line; those that failed as ticks at its foot.
pub fn spark(ended: &[(u32, u32)], width: u32) -> Markup {
    let points: Vec<(u32, u32)> = ended
        .chunks(SECONDS_A_POINT)
        .map(|chunk| chunk.iter().fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1)))
        .collect();
    let highest = points.iter().map(|(all, _)| *all).max().unwrap_or(0).max(1);
    let step = f64::from(width) / (points.len().max(2) - 1) as f64;
    let floor = HEIGHT - MARGIN.1;
    let y = |count: u32| floor - f64::from(count) / f64::from(highest) * (floor - MARGIN.0);
    let mut line = String::new();
    for (at, (all, _)) in points.iter().enumerate() {
        let command = if at == 0 { 'M' } else { 'L' };
        let _ = write!(line, "{command}{:.1} {:.1}", at as f64 * step, y(*all));
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
                    rect class="bad" x=(format!("{:.1}", at as f64 * step - 1.0))
                        y=(format!("{:.1}", floor - height)) width="2"
                        height=(format!("{height:.1}")) rx="1" {}
                }
            }
        }
    }
}
