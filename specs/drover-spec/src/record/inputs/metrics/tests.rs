use drover_model::SourceName;

use super::*;
use crate::record::inputs::KIND;
use crate::record::{encode, json, read};

#[test]
fn what_sources_answered_is_written_whole() {
    let query = |query: &str| MetricQuery {
        source: SourceName::parse("prom").unwrap(),
        query: query.to_owned(),
    };
    let sample = |value| Reading::Sample {
        value,
        at: "2026-01-05T12:00:00.25Z".parse().unwrap(),
    };
    let missing = Reading::Missing {
        why: "no answer within 2s".to_owned(),
    };
    let readings: Readings = [
        (query("sum(a{b=\"c\"})"), sample(120.0)),
        (query("small"), sample(-1.5e-300)),
        (query("down"), missing),
    ]
    .into();
    let written = readings_out(&readings).unwrap();
    let root = encode::header(KIND).with("metrics", written).build();
    let node = read::root(&json::document(&root), KIND).unwrap();
    let read = readings_in(&Reader::root(&node).get("metrics").unwrap());
    assert_eq!(read.unwrap(), readings);
    assert!(readings_out(&Readings::new()).is_none());
}
