//! The growth of a herd as a picture.

use std::error::Error;
use std::ops::Range;
use std::path::Path;

use plotters::prelude::*;

/// A figure for each size of herd.
pub struct Curve<'a> {
    pub title: &'a str,
    pub values: Range<f64>,
    pub points: Vec<(f64, f64)>,
}

/// Draws the curves side by side, over the number of claimers.
pub fn draw(path: &Path, curves: &[Curve]) -> Result<(), Box<dyn Error>> {
    let root = SVGBackend::new(path, (1080, 320)).into_drawing_area();
    root.fill(&WHITE)?;
    for (area, curve) in root.split_evenly((1, curves.len())).iter().zip(curves) {
        let mut chart = ChartBuilder::on(area)
            .caption(curve.title, ("sans-serif", 15))
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(44)
            .build_cartesian_2d((10.0..10_000.0).log_scale(), curve.values.clone())?;
        let whole = |n: &f64| format!("{n}");
        chart
            .configure_mesh()
            .max_light_lines(0)
            .x_desc("instances")
            .x_labels(4)
            .x_label_formatter(&whole)
            .y_labels(6)
            .draw()?;
        chart.draw_series(LineSeries::new(curve.points.iter().copied(), &BLUE))?;
        chart.draw_series(curve.points.iter().map(|point| Circle::new(*point, 3, BLUE.filled())))?;
    }
    Ok(root.present()?)
}
