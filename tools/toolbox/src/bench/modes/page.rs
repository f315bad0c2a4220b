//! The report of `modes`: one page without anything from elsewhere, charts drawn in it. Pure: rows in, HTML out.

use std::fmt::Write as _;

use super::Mode;
use super::summary::{COLUMNS, Row, cells};
use crate::bench::campaign::picture::escape;

/// What the page says.
#[derive(Debug)]
pub struct Page<'a> {
    /// The machine and the case.
    pub circumstances: &'a str,
    /// wrk: each connection sends as soon as it has an answer.
    pub closed: &'a [Row],
    /// At a fixed rate.
    pub open: &'a [Row],
    /// That rate.
    pub rate: f64,
    /// The latency that is to be kept, in microseconds.
    pub bound_us: f64,
    /// The last sentence.
    pub sentence: &'a str,
}

/// Sizes of a chart in pixels.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 90.0;
const TOP: f64 = 20.0;
const BOTTOM: f64 = 40.0;

const STYLE: &str = "body{font:15px/1.5 sans-serif;max-width:760px;margin:2em auto;padding:0 1em;color:#222}\
table{border-collapse:collapse;font-size:13px;display:block;overflow-x:auto}td,th{border:1px solid #ccc;padding:3px 8px;text-align:right}\
th{background:#f3f3f3}.wrong{color:#c00000;font-weight:bold}.choice{border-left:4px solid #2c6fbb;padding:.5em 1em;background:#f2f7fc}\
svg{max-width:100%;height:auto}";

const fn colour(mode: Mode) -> &'static str {
    match mode {
        Mode::Off => "#8a8a8a",
        Mode::Async => "#2c6fbb",
        Mode::Sync => "#c77d0a",
        Mode::Held => "#1a7f37",
    }
}

/// The page.
pub fn html(page: &Page<'_>) -> String {
    let Page { circumstances, closed, open, rate, bound_us, sentence } = page;
    format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>Tollgate: what recording costs</title>\n<style>{STYLE}</style>\n<h1>What recording costs</h1>\n<p>{}</p>\n\
         <h2>Latency at {rate:.0} requests/s</h2>\n<p>Requests fall due at a fixed rate; latency counts from then on, so waiting is \
         in it. The dashed line is the bound.</p>\n{}{}\n<h2>As much as it takes</h2>\n<p>Each connection sends as soon as it has its \
         answer; latency is that of a machine under full load.</p>\n<h3>Requests per second</h3>\n{}<h3>CPU seconds of the gateway per \
         million requests</h3>\n{}{}\n<h2>Choice</h2>\n<p class=\"choice\">{}</p>\n</html>\n",
        escape(circumstances),
        percentiles(open, *bound_us),
        table(open),
        bars(closed, |row| row.middle(|sample| sample.requests_per_s), 0),
        bars(closed, |row| row.middle(|sample| sample.cpu_s_per_million), 2),
        table(closed),
        escape(sentence),
    )
}

fn table(rows: &[Row]) -> String {
    let head: String = COLUMNS.iter().map(|name| format!("<th>{}</th>", escape(name))).collect();
    let cell = |text: &String| match text.contains("WRONG") {
        true => format!("<td class=\"wrong\">{}</td>", escape(text)),
        false => format!("<td>{}</td>", escape(text)),
    };
    let line = |cells: &[String; 8]| format!("<tr>{}</tr>\n", cells.iter().map(cell).collect::<String>());
    format!("<table><tr>{head}</tr>\n{}</table>\n", cells(rows).iter().map(line).collect::<String>())
}

fn svg(height: f64, inside: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">{inside}</svg>\n"
    )
}

/// Percentiles of each mode, the latency on a logarithmic axis.
fn percentiles(rows: &[Row], bound_us: f64) -> String {
    let points = |row: &Row| {
        let at =
            [row.middle(|s| s.p50_us), row.middle(|s| s.p90_us), row.middle(|s| s.p99_us), row.middle(|s| s.p999_us)];
        at.map(|value| value.max(1.0))
    };
    let measured: Vec<(Mode, [f64; 4])> =
        rows.iter().filter(|row| !row.samples.is_empty()).map(|row| (row.mode, points(row))).collect();
    let values = || measured.iter().flat_map(|(_, points)| points).copied().chain([bound_us]);
    let low = values().fold(f64::INFINITY, f64::min).log10().floor();
    let high = values().fold(1.0, f64::max).log10().ceil().max(low + 1.0);
    let x = |index: usize| LEFT + index as f64 * (WIDTH - LEFT - RIGHT) / 3.0;
    let y = |us: f64| TOP + (high - us.log10()) / (high - low) * (HEIGHT - TOP - BOTTOM);
    let mut text = String::new();
    for power in low as i32..=high as i32 {
        let (us, line) = (10_f64.powi(power), y(10_f64.powi(power)));
        let said = if us < 1000.0 { format!("{us:.0} µs") } else { format!("{:.0} ms", us / 1000.0) };
        let _ = write!(
            text,
            "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{line:.1}\" y2=\"{line:.1}\" stroke=\"#ddd\"/>",
            WIDTH - RIGHT
        );
        let _ = write!(text, "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{said}</text>", LEFT - 6.0, line + 4.0);
    }
    for (index, name) in ["p50", "p90", "p99", "p99.9"].iter().enumerate() {
        let _ =
            write!(text, "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{name}</text>", x(index), HEIGHT - 14.0);
    }
    let line = y(bound_us);
    let _ = write!(
        text,
        "<line class=\"bound\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{line:.1}\" y2=\"{line:.1}\" stroke=\"#c00000\" stroke-dasharray=\"5 4\"/>",
        WIDTH - RIGHT
    );
    let mut labels: Vec<(f64, Mode)> = measured.iter().map(|(mode, points)| (y(points[3]), *mode)).collect();
    labels.sort_by(|a, b| a.0.total_cmp(&b.0));
    for index in 1..labels.len() {
        // Labels that would lie over each other are moved apart.
        labels[index].0 = labels[index].0.max(labels[index - 1].0 + 14.0);
    }
    for (mode, points) in &measured {
        let all: Vec<String> = points.iter().enumerate().map(|(i, us)| format!("{:.1},{:.1}", x(i), y(*us))).collect();
        let (stroke, points) = (colour(*mode), all.join(" "));
        let _ = write!(text, "<polyline points=\"{points}\" fill=\"none\" stroke=\"{stroke}\" stroke-width=\"2\"/>");
    }
    for (at, mode) in labels {
        let (name, fill) = (mode.name(), colour(mode));
        let _ = write!(text, "<text x=\"{}\" y=\"{:.1}\" fill=\"{fill}\">{name}</text>", WIDTH - RIGHT + 8.0, at + 4.0);
    }
    svg(HEIGHT, &text)
}

/// A bar for each mode.
fn bars(rows: &[Row], what: impl Fn(&Row) -> f64, digits: usize) -> String {
    let measured: Vec<&Row> = rows.iter().filter(|row| !row.samples.is_empty()).collect();
    let most = measured.iter().map(|row| what(row)).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let mut text = String::new();
    for (index, row) in measured.iter().enumerate() {
        let (y, value, fill) = (4.0 + index as f64 * 26.0, what(row), colour(row.mode));
        let width = value / most * (WIDTH - LEFT - RIGHT);
        let _ = write!(
            text,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text><rect x=\"{LEFT}\" y=\"{y}\" width=\"{width:.1}\" height=\"18\" \
             fill=\"{fill}\"/><text x=\"{:.1}\" y=\"{}\">{value:.digits$}</text>",
            LEFT - 6.0,
            y + 13.5,
            row.mode.name(),
            LEFT + width + 6.0,
            y + 13.5
        );
    }
    svg(measured.len() as f64 * 26.0 + 8.0, &text)
}

#[cfg(test)]
mod tests {
    use super::super::summary::tests::row;
    use super::*;

    fn rows() -> Vec<Row> {
        vec![
            row(Mode::Off, 4000.0, None),
            row(Mode::Async, 5000.0, Some(100)),
            row(Mode::Sync, 6000.0, Some(100)),
            row(Mode::Held, 90_000.0, Some(100)),
        ]
    }

    fn page(rows: &[Row]) -> String {
        let (circumstances, sentence) = ("2 cores & <more>", "choose held");
        html(&Page { circumstances, closed: rows, open: rows, rate: 8000.0, bound_us: 50_000.0, sentence })
    }

    #[test]
    fn the_page_holds_charts_and_tables_and_nothing_from_elsewhere() {
        let text = page(&rows());
        assert_eq!(text.matches("<svg ").count(), 3);
        assert_eq!(text.matches("<polyline ").count(), 4);
        assert_eq!(text.matches("<table>").count(), 2);
        for outside in ["<script", "<link", "<img", "src=", "href=", "@import", "url("] {
            assert!(!text.contains(outside), "{outside}");
        }
        assert_eq!(text.matches("http").count(), text.matches("http://www.w3.org/2000/svg").count());
        assert!(text.contains("2 cores &amp; &lt;more&gt;"));
    }

    #[test]
    fn the_last_sentence_is_the_choice() {
        let text = page(&rows());
        let last = text.trim_end().trim_end_matches("</html>").trim_end();
        assert!(last.ends_with("<p class=\"choice\">choose held</p>"), "{last}");
    }

    #[test]
    fn what_is_slower_lies_higher_and_the_bound_between() {
        let text = percentiles(&rows(), 50_000.0);
        let last_y = |line: &str| line.split('"').next()?.rsplit(',').next()?.parse::<f64>().ok();
        let ends: Vec<f64> = text.split("<polyline points=\"").skip(1).filter_map(last_y).collect();
        let bound = text
            .split("class=\"bound\"")
            .nth(1)
            .and_then(|rest| rest.split("y1=\"").nth(1)?.split('"').next()?.parse().ok());
        let bound: f64 = bound.expect("the bound");
        assert!(ends[3] < bound && bound < ends[2] && ends[2] < ends[1] && ends[1] < ends[0], "{ends:?} {bound}");
    }

    #[test]
    fn wrong_records_are_red() {
        assert!(!page(&rows()).contains("class=\"wrong\""));
        assert!(page(&[row(Mode::Async, 5000.0, Some(99))]).contains("<td class=\"wrong\">99 / 100 WRONG BY 1</td>"));
    }
}
