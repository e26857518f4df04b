//! Draws SVG plots of the figures of a section. The horizontal axis is the value that the section
//! varies.

use std::{ops::Range, path::Path};

use anyhow::{Context as _, Result};
use plotters::{
    chart::{ChartBuilder, SeriesLabelPosition},
    coord::{
        Shift,
        ranged1d::{AsRangedCoord, ValueFormatter},
    },
    drawing::{DrawingArea, IntoDrawingArea as _},
    element::{Circle, PathElement},
    prelude::{IntoLogRange as _, SVGBackend},
    series::LineSeries,
    style::{BLACK, Color as _, Palette as _, Palette99, WHITE},
};

use super::{
    rows::Rows,
    sections::{Plot, Section},
    table::number,
};

const SIZE: (u32, u32) = (800, 450);

/// A line of a plot, which connects the points of one row.
struct Line {
    what: String,
    points: Vec<(f64, f64)>,
}

/// Returns the file name of the section's plot.
pub(super) fn name(section: &Section) -> String {
    format!("{}.svg", section.id)
}

/// Draws the plot of the section, if the section has a plot.
pub(super) fn draw(folder: &Path, section: &Section, rows: &Rows) -> Result<()> {
    let Some(plot) = &section.plot else { return Ok(()) };
    let lines = lines(section, plot, rows);
    let path = folder.join(name(section));
    let area = SVGBackend::new(&path, SIZE).into_drawing_area();
    area.fill(&WHITE).with_context(|| format!("draw {}", path.display()))?;
    let [x, y] = ranges(&lines, plot.is_logarithmic);
    if plot.is_logarithmic {
        axes(&area, section, plot, &lines, (x.log_scale(), y.log_scale()))
    } else {
        axes(&area, section, plot, &lines, (x, y))
    }
    .with_context(|| format!("draw {}", path.display()))?;
    area.present().with_context(|| format!("write {}", path.display()))
}

/// Returns a line for each row that has the figure at two or more values.
fn lines(section: &Section, plot: &Plot, rows: &Rows) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for row in rows.of(section.id) {
        let (Some(at), Some(figure)) = (row.at, row.figure(plot.figure)) else { continue };
        let point = (at as f64, figure.median);
        match lines.iter_mut().find(|line| line.what == row.what) {
            Some(line) => line.points.push(point),
            None => lines.push(Line { what: row.what.clone(), points: vec![point] }),
        }
    }
    lines.retain(|line| line.points.len() > 1);
    lines
}

/// Returns the ranges of the two axes. A linear axis begins at zero, and a logarithmic axis begins
/// below the minimum. Each axis ends above the largest value.
fn ranges(lines: &[Line], is_logarithmic: bool) -> [Range<f64>; 2] {
    let points = || lines.iter().flat_map(|line| &line.points);
    let range = |of: fn(&(f64, f64)) -> f64| {
        let least = points().map(of).fold(f64::MAX, f64::min);
        let most = points().map(of).fold(f64::MIN, f64::max);
        if is_logarithmic { least / 1.5..most * 1.5 } else { 0.0..most.max(1.0) * 1.05 }
    };
    [range(|point| point.0), range(|point| point.1)]
}

/// Draws the axes of a plot, the lines with their points, and the legend.
fn axes<X, Y>(
    area: &DrawingArea<SVGBackend, Shift>,
    section: &Section,
    plot: &Plot,
    lines: &[Line],
    (x, y): (X, Y),
) -> Result<()>
where
    X: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let mut chart = ChartBuilder::on(area)
        .margin(15)
        .x_label_area_size(40)
        .y_label_area_size(70)
        .build_cartesian_2d(x, y)?;
    chart
        .configure_mesh()
        .max_light_lines(2)
        .x_desc(section.at)
        .y_desc(plot.figure)
        .x_label_formatter(&|&value| number(value))
        .y_label_formatter(&|&value| number(value))
        .draw()?;
    for (number, line) in lines.iter().enumerate() {
        let color = Palette99::pick(number).to_rgba();
        chart
            .draw_series(LineSeries::new(line.points.iter().copied(), color.stroke_width(2)))?
            .label(&line.what)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], color.stroke_width(2)));
        let points = line.points.iter().map(|&point| Circle::new(point, 3, color.filled()));
        chart.draw_series(points)?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_points_of_a_row_at_more_than_one_place() {
        let text = concat!(
            r#"{"section":"s","at":1000,"what":"a","figures":[{"name":"ms","median":1.5,"spread":0}]}"#,
            "\n",
            r#"{"section":"s","at":9000,"what":"a","figures":[{"name":"ms","median":12.0,"spread":0}]}"#,
            "\n",
            r#"{"section":"s","at":9000,"what":"b","figures":[{"name":"ms","median":7.0,"spread":0}]}"#,
            "\n",
            r#"{"section":"s","at":9000,"what":"c","absent":"not installed"}"#,
        );
        let rows = Rows::parse(text).expect("they are rows");
        for is_logarithmic in [false, true] {
            let plot = Some(Plot { figure: "ms", is_logarithmic });
            let section = Section { id: "s", title: "", at: "sockets", base: "", text: "", plot };
            let folder = std::env::temp_dir().join(format!("plot-{}", std::process::id()));
            std::fs::create_dir_all(&folder).expect("there is room");
            draw(&folder, &section, &rows).expect("it can be drawn");
            let svg = std::fs::read_to_string(folder.join(name(&section))).expect("it was written");
            std::fs::remove_dir_all(&folder).expect("the test owns it");
            assert_eq!(svg.matches("<circle").count(), 2, "{svg}");
            // The row `b` has a figure at only one value, so the plot must contain only the row
            // `a`.
            let names = ["\na\n", "\nb\n"].map(|name| svg.matches(name).count());
            assert_eq!(names, [1, 0], "{svg}");
        }
    }
}
