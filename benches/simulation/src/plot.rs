//! Plots as SVG.

use std::{error::Error, path::Path};

use plotters::{
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use crate::{
    report::{self, Day, Lease},
    traffic::Traffic,
};

const SIZE: (u32, u32) = (860, 340);

/// Where the bars of a setting begin and end, and how wide each of them is.
const BARS: (f64, f64) = (0.08, 0.28);

/// A group of bars for each setting of leases, with one bar for each kind of traffic.
pub fn bars(
    file: &Path,
    title: &str,
    leases: &[Lease],
    days: &[Day],
    value: impl Fn(&Day) -> f64,
) -> Result<(), Box<dyn Error>> {
    let highest = days.iter().map(&value).fold(0.01, f64::max);
    let canvas = SVGBackend::new(file, SIZE).into_drawing_area();
    canvas.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&canvas)
        .caption(title, ("sans-serif", 16))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(44)
        .build_cartesian_2d(0.0..leases.len() as f64, 0.0..highest * 1.15)?;
    chart.configure_mesh().disable_x_mesh().disable_x_axis().light_line_style(WHITE).draw()?;
    let centred = |size: u32| {
        let middle = Pos::new(HPos::Center, VPos::Bottom);
        ("sans-serif", size).into_font().color(&BLACK).pos(middle)
    };
    for (series, traffic) in Traffic::ALL.into_iter().enumerate() {
        let color = color(traffic);
        let days = days.iter().filter(|day| day.traffic == traffic);
        let bars: Vec<_> = days
            .enumerate()
            .map(|(place, day)| (place as f64 + BARS.0 + series as f64 * BARS.1, value(day)))
            .collect();
        let rectangle =
            |(left, height)| Rectangle::new([(left, 0.0), (left + BARS.1, height)], color.filled());
        chart
            .draw_series(bars.iter().copied().map(rectangle))?
            .label(report::name(traffic))
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], color.filled()));
        let number = |(left, height): (f64, f64)| {
            let place = (left + BARS.1 / 2.0, height + highest * 0.01);
            Text::new(format!("{height:.2}"), place, centred(10))
        };
        chart.draw_series(bars.iter().copied().map(number))?;
    }
    for (place, lease) in leases.iter().enumerate() {
        let (x, y) = chart.backend_coord(&(place as f64 + 0.5, 0.0));
        for (line, below) in lease.lines.into_iter().zip([20, 36]) {
            canvas.draw(&Text::new(line, (x, y + below), centred(12)))?;
        }
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .label_font(("sans-serif", 12))
        .background_style(WHITE)
        .draw()?;
    canvas.present()?;
    Ok(())
}

const fn color(traffic: Traffic) -> RGBColor {
    match traffic {
        Traffic::Even => RGBColor(76, 114, 176),
        Traffic::Bursty => RGBColor(221, 132, 82),
        Traffic::Skewed => RGBColor(85, 168, 104),
    }
}
