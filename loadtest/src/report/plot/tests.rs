use super::*;
use crate::report::format;

const SECONDS: Axis = Axis { label: "s", scale: Scale::ToEnd, words: format::number };

fn plot(y: Scale, points: Vec<(f64, f64)>) -> Plot {
    let y = Axis { label: "Messages", scale: y, words: format::number };
    let series = vec![Series { name: "sends".into(), colour: 1, look: Look::Solid, points }];
    Plot { title: "Load".into(), x: SECONDS, y, series, shaded: Vec::new(), rules: Vec::new() }
}

/// Every place that the first series is drawn at.
fn places(svg: &str) -> Vec<(f64, f64)> {
    let path = svg.split("class=\"l c1\" d=\"").nth(2).expect("legend, then line").split('"').next().expect("a path");
    let number = |text: &str| text.parse::<f64>().expect("a number");
    let steps = path.replace("l0 0", "").replace('L', "M");
    steps
        .split('M')
        .skip(1)
        .map(|place| place.split_once(' ').map(|(x, y)| (number(x), number(y))).expect("x y"))
        .collect()
}

#[test]
fn holds_the_extremes_of_the_data_and_stays_inside() {
    let wave = |count: u32| (0..count).map(|n| (f64::from(n), 1_000.0 + 900.0 * (f64::from(n) * 0.7).sin())).collect();
    let mut spike: Vec<(f64, f64)> = (0..100_000).map(|n| (f64::from(n), 10.0)).collect();
    spike[33_333].1 = 4_321.0;
    spike[77_777].1 = 1.0;
    let cases: [(&str, Vec<(f64, f64)>); 6] = [
        ("one point", vec![(3.0, 7.0)]),
        ("level", vec![(0.0, 5.0), (1.0, 5.0)]),
        ("wave", wave(60)),
        ("long wave", wave(7_200)),
        ("one spike in many", spike),
        ("far apart", vec![(0.0, 0.001), (1.0, 2e6), (2.0, 30.0)]),
    ];
    for (name, points) in cases {
        for scale in [Scale::FromZero, Scale::ToEnd, Scale::Log] {
            let plot = plot(scale, points.clone());
            let svg = plot.figure("p");
            let places = places(&svg);
            assert!(places.len() <= POINTS_MAX + POINTS_MAX / 2, "{name}: {}", places.len());
            let (x, y) = plot.mapped().expect("points");
            for extreme in [f64::min as fn(f64, f64) -> f64, f64::max] {
                let most = points.iter().map(|(_, y)| *y).reduce(extreme).expect("points");
                let at = points.iter().find(|(_, y)| *y == most).expect("there");
                let near = |place: &(f64, f64)| (place.1 - y.at(at.1)).abs() < 0.1;
                assert!(places.iter().any(near), "{name} {scale:?}: {most} is not drawn");
                assert!(svg.contains(&format::number(most)), "{name}: {most} is not said");
            }
            let ends = (x.at(points[0].0), x.at(points[points.len() - 1].0));
            assert!((places[0].0 - ends.0).abs() < 0.1 && (places[places.len() - 1].0 - ends.1).abs() < 0.1, "{name}");
            let inside = |(x, y): &(f64, f64)| {
                (LEFT - 0.1..=WIDTH - RIGHT + 0.1).contains(x) && (TOP - 0.1..=HEIGHT - BOTTOM + 0.1).contains(y)
            };
            assert!(places.iter().all(inside), "{name} {scale:?}");
        }
    }
}

#[test]
fn more_is_higher_and_later_is_further_right() {
    for scale in [Scale::FromZero, Scale::ToEnd, Scale::Log] {
        let places = places(&plot(scale, vec![(1.0, 10.0), (2.0, 20.0), (4.0, 300.0)]).figure("p"));
        assert!(places.is_sorted_by(|a, b| a.0 < b.0 && a.1 > b.1), "{scale:?}: {places:?}");
    }
}

#[test]
fn a_gap_is_not_bridged_and_nothing_is_said_to_be_nothing() {
    let svg =
        plot(Scale::Log, vec![(0.0, 5.0), (1.0, 0.0), (2.0, 6.0), (3.0, f64::NAN), (4.0, 7.0), (5.0, 8.0)]).figure("p");
    let path = svg.split("class=\"l c1\" d=\"").nth(2).expect("a line");
    assert_eq!((path.matches('M').count(), path.matches('L').count()), (3, 1), "{path}");
    for points in [vec![], vec![(1.0, f64::NAN)], vec![(1.0, 0.0)]] {
        assert!(plot(Scale::Log, points).figure("p").contains("No values."));
    }
}

#[test]
fn axes_carry_round_numbers_and_all_of_the_data() {
    let cases: [(Scale, &[f64], &[f64]); 8] = [
        (Scale::FromZero, &[3.0, 97.0], &[0.0, 20.0, 40.0, 60.0, 80.0, 100.0]),
        (Scale::FromZero, &[0.0], &[0.0, 1.0]),
        (Scale::FromZero, &[0.31], &[0.0, 0.1, 0.2, 0.3, 0.4]),
        (Scale::ToEnd, &[2.0, 11.0], &[0.0, 2.0, 4.0, 6.0, 8.0, 10.0]),
        (Scale::Log, &[1_100.0, 9_000.0], &[1_000.0, 2_000.0, 5_000.0, 10_000.0]),
        (Scale::Log, &[90.0, 20_000.0], &[100.0, 300.0, 1_000.0, 3_000.0, 10_000.0]),
        (Scale::Log, &[1.0, 1e5], &[1.0, 10.0, 100.0, 1_000.0, 10_000.0, 100_000.0]),
        (Scale::Percentile, &[0.0, 3.5], &[std::f64::consts::LOG10_2, 1.0, 2.0, 3.0]),
    ];
    for (scale, values, expected) in cases {
        let mapped = scale.map(values, 0.0, 100.0);
        let ticks: Vec<f64> = mapped.ticks().iter().map(|tick| tick.value).collect();
        let same =
            ticks.len() == expected.len() && ticks.iter().zip(expected).all(|(a, b)| (a - b).abs() <= b.abs() * 1e-4);
        assert!(same, "{scale:?} {values:?}: {ticks:?}");
        assert!(values.iter().all(|value| (-0.01..=100.01).contains(&mapped.at(*value))), "{scale:?} {values:?}");
    }
}

#[test]
fn words_from_outside_are_escaped() {
    let mut plot = plot(Scale::FromZero, vec![(0.0, 1.0)]);
    plot.title = "<script>".into();
    plot.series[0].name = "a\"b&c".into();
    plot.rules.push(Rule::X(0.0, "<b>".into()));
    plot.rules.push(Rule::Y(0.5, "<i>".into()));
    let svg = plot.figure("p");
    assert!(!svg.contains("<script>") && !svg.contains("<b>") && !svg.contains("<i>"), "{svg}");
    assert!(svg.contains("&lt;script&gt;") && svg.contains("a&quot;b&amp;c"), "{svg}");
}
