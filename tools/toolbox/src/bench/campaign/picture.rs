//! The picture: for each case a panel, for each contestant a bar of CPU seconds per million requests. Pure: tables in, SVG out.

use std::fmt::Write as _;

use super::table::{Row, Table};
use crate::bench::figures::range;

/// Sizes in pixels.
const WIDTH: f64 = 920.0;
const LABEL: f64 = 210.0;
const VALUE: f64 = 250.0;
const BAR: f64 = 18.0;
const STEP: f64 = 26.0;
const HEAD: f64 = 40.0;
const TOP: f64 = 64.0;

/// Colours of ours, of the rulers and peers; the lighter one is the part in user space.
const OURS: (&str, &str) = ("#8fbbe8", "#2c6fbb");
const THEIRS: (&str, &str) = ("#cfcfcf", "#8a8a8a");

/// Draws all tables below each other.
pub fn svg(tables: &[Table], caption: &str) -> String {
    let height = TOP + tables.iter().map(panel_height).sum::<f64>() + 16.0;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"16\" y=\"26\" font-size=\"17\" font-weight=\"bold\">CPU seconds per million requests, all processes of each \
         contestant (shorter is better)</text>\n<text x=\"16\" y=\"46\" fill=\"#555\">{}</text>\n",
        escape(caption)
    );
    let mut y = TOP;
    for table in tables {
        panel(&mut text, table, y);
        y += panel_height(table);
    }
    text += "</svg>\n";
    text
}

fn measured(table: &Table) -> impl Iterator<Item = &Row> {
    table.rows.iter().filter(|row| !row.samples.is_empty())
}

fn panel_height(table: &Table) -> f64 {
    measured(table).count() as f64 * STEP + HEAD
}

fn panel(text: &mut String, table: &Table, top: f64) {
    let most = measured(table).map(|row| range(&table.cpu(row.who)).1).fold(0.0, f64::max);
    let scale = if most > 0.0 { (WIDTH - LABEL - VALUE) / most } else { 0.0 };
    let _ =
        writeln!(text, "<text x=\"16\" y=\"{}\" font-weight=\"bold\">{}</text>", top + 24.0, escape(table.case.title));
    for (index, row) in measured(table).enumerate() {
        bar(text, table, row, top + HEAD - 4.0 + index as f64 * STEP, scale);
    }
}

fn bar(text: &mut String, table: &Table, row: &Row, y: f64, scale: f64) {
    let (user, system) =
        (row.middle(|sample| sample.user_s_per_million), row.middle(|sample| sample.system_s_per_million));
    let (least, most) = range(&table.cpu(row.who));
    let (light, dark) = if row.who.is_ours() { OURS } else { THEIRS };
    let (middle, base) = (y + BAR / 2.0, y + 13.5);
    let end = |value: f64| LABEL + value * scale;
    let _ = writeln!(
        text,
        "<text x=\"{}\" y=\"{base}\" text-anchor=\"end\">{}</text>\
         <rect class=\"user\" x=\"{LABEL}\" y=\"{y}\" width=\"{:.1}\" height=\"{BAR}\" fill=\"{light}\"/>\
         <rect class=\"system\" x=\"{:.1}\" y=\"{y}\" width=\"{:.1}\" height=\"{BAR}\" fill=\"{dark}\"/>\
         <line x1=\"{:.1}\" y1=\"{middle}\" x2=\"{:.1}\" y2=\"{middle}\" stroke=\"#222\" stroke-width=\"1.5\"/>",
        LABEL - 8.0,
        escape(row.who.title()),
        user * scale,
        end(user),
        system * scale,
        end(least),
        end(most),
    );
    let (said, colour) = match (row.who.records(), table.is_row_broken(row)) {
        (false, _) => ("no record", "#777"),
        (true, true) => ("RECORDS WRONG", "#c00000"),
        (true, false) => ("every request recorded", "#1a7f37"),
    };
    let _ = writeln!(
        text,
        "<text x=\"{:.1}\" y=\"{base}\">{:.1}  <tspan fill=\"{colour}\">{said}</tspan></text>",
        end(most.max(user + system)) + 8.0,
        user + system,
    );
}

/// Text for XML.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::case::Who;
    use super::super::table::tests::table;
    use super::*;

    #[test]
    fn there_is_a_panel_for_each_case_and_a_bar_for_each_contestant() {
        let tables = [
            table("16", &[(Who::Async, 9.0), (Who::Nginx, 10.0), (Who::Relay, 8.0)]),
            table("8k", &[(Who::Async, 18.0), (Who::Nginx, 20.0)]),
        ];
        let text = svg(&tables, "a < b & c");
        assert_eq!(text.matches("class=\"user\"").count(), 5);
        assert_eq!(text.matches("class=\"system\"").count(), 5);
        assert!(text.contains("8 KiB, 64 connections") && text.contains("a &lt; b &amp; c"));
        assert!(text.starts_with("<svg ") && text.ends_with("</svg>\n"));
        // Every element is closed.
        for name in ["text", "tspan", "svg"] {
            assert_eq!(
                text.matches(&format!("<{name} ")).count(),
                text.matches(&format!("</{name}>")).count(),
                "{name}"
            );
        }
    }

    #[test]
    fn a_bar_is_as_long_as_its_cost() {
        let text = svg(&[table("16", &[(Who::Async, 5.0), (Who::Nginx, 10.0)])], "");
        let widths = |class: &str| {
            let find = |part: &str| part.split("width=\"").nth(1)?.split('"').next()?.parse::<f64>().ok();
            text.split(&format!("class=\"{class}\"")).skip(1).filter_map(find).collect::<Vec<_>>()
        };
        let (user, system) = (widths("user"), widths("system"));
        assert!(
            (user[1] / user[0] - 2.0).abs() < 0.01 && (system[1] / system[0] - 2.0).abs() < 0.01,
            "{user:?} {system:?}"
        );
        assert!((user[1] + system[1] - (WIDTH - LABEL - VALUE)).abs() < 0.3);
    }

    #[test]
    fn lost_records_are_red_in_the_picture() {
        let mut broken = table("16", &[(Who::Async, 5.0)]);
        assert!(!svg(&[broken.clone()], "").contains("RECORDS WRONG"));
        broken.rows[0].samples[0].records = Some(1);
        assert!(svg(&[broken], "").contains("fill=\"#c00000\">RECORDS WRONG"));
    }
}
