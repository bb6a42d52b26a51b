use drover_model::FieldClass;

use super::super::{Field, ListShape, ObjectSchema};
use super::*;

fn field(shape: Shape) -> Field {
    Field {
        shape,
        required: false,
        class: FieldClass::Replace,
        doc: String::new(),
    }
}

/// What is suggested for a value of a field, if anything is.
fn meant(name: &str, shape: &Shape, value: &Value) -> Option<String> {
    let schema = ObjectSchema {
        fields: [(name.to_owned(), field(shape.clone()))].into(),
        ..ObjectSchema::default()
    };
    let mistakes = schema.check(&[(name.to_owned(), value.clone())].into_iter().collect());
    let [mistake] = mistakes.as_slice() else {
        panic!("{name}: {value:?} has {mistakes:?}");
    };
    mistake.suggestion.clone()
}

fn assert_meant(name: &str, shape: &Shape, cases: &[(Value, &str)]) {
    for (value, expected) in cases {
        let said = meant(name, shape, value);
        assert_eq!(said.as_deref().unwrap_or(""), *expected, "{value:?}");
    }
}

#[test]
fn words_in_another_case_or_with_other_separators_are_known_again() {
    let words = ["onDemand", "spot"].map(str::to_owned).to_vec();
    let cases = [
        ("SPOT".into(), "spot"),
        ("on-demand".into(), "onDemand"),
        ("ON_DEMAND".into(), "onDemand"),
        ("spt".into(), "spot"),
        ("reserved".into(), ""),
        (Value::Bool(true), ""),
    ];
    assert_meant("market", &Shape::Word(words), &cases);
}

#[test]
fn numbers_have_the_unit_of_the_field() {
    let shape = Shape::Integer { min: 1, max: 4_096 };
    let cases = [
        ("100".into(), "100"),
        (" 7 ".into(), "7"),
        ("512MiB".into(), "512"),
        ("512M".into(), "512"),
        ("2 GiB".into(), "2048"),
        ("2Gi".into(), "2048"),
        ("1048576k".into(), "1024"),
        // More than the field takes, or no whole number of it.
        ("8GiB".into(), ""),
        ("100k".into(), ""),
        ("512 parsecs".into(), ""),
        ("99999999999999T".into(), ""),
        ("much".into(), ""),
        (Value::Int(0), ""),
    ];
    assert_meant("memoryMiB", &shape, &cases);
    let cases = [
        ("500m".into(), "500"),
        (Value::Float(0.5), "500"),
        (Value::Float(0.0005), ""),
        (Value::Float(f64::NAN), ""),
        (Value::Float(1e300), ""),
    ];
    assert_meant("cpuMillis", &shape, &cases);
    let cases = [("7 days".into(), ""), ("3".into(), "3")];
    assert_meant("retries", &shape, &cases);
}

#[test]
fn durations_have_a_unit_that_is_read() {
    let cases = [
        (Value::Int(90), "90s"),
        (Value::Int(-1), ""),
        ("90".into(), "90s"),
        ("5min".into(), "5m"),
        ("1 h".into(), "1h"),
        ("1 hour, 30 minutes".into(), "1h30m"),
        ("2d".into(), "48h"),
        ("1w".into(), "168h"),
        ("10S".into(), "10s"),
        ("soon".into(), ""),
        ("1.5h".into(), ""),
        ("99999999999999999999s".into(), ""),
        ("99999999999999999d".into(), ""),
        (Value::Null, ""),
    ];
    assert_meant("wait", &Shape::Duration, &cases);
}

#[test]
fn a_number_lacks_its_unit_where_a_text_of_it_is_of_no_use() {
    let whole = Form::of("^[0-9]+[smh]$", "a duration of whole seconds", "90s");
    let cases = [
        (Value::Int(60), "60s"),
        ("60".into(), "60s"),
        ("2 min".into(), "2m"),
        (Value::Bool(true), "\"true\""),
    ];
    assert_meant("warmup", &Shape::text(whole), &cases);
    let argument = Shape::text(Form::of_processes());
    assert_meant("argument", &argument, &[(Value::Int(60), "\"60\"")]);
}

#[test]
fn texts_lists_and_truth_are_shown_as_they_are_written() {
    let cases = [
        (Value::Int(80), "\"80\""),
        (Value::Bool(true), "\"true\""),
        (Value::Float(0.5), "\"0.5\""),
        (Value::Null, ""),
    ];
    assert_meant("name", &Shape::String, &cases);
    assert_meant("version", &Shape::Digits, &[(Value::Int(3), "\"3\"")]);
    let cases = [
        ("yes".into(), "true"),
        ("Off".into(), "false"),
        ("maybe".into(), ""),
        (Value::Int(1), ""),
    ];
    assert_meant("fast", &Shape::Boolean, &cases);
    let list = Shape::List(ListShape::of(Shape::String));
    let cases = [("subnet-a".into(), "[subnet-a]"), ("curl x".into(), "")];
    assert_meant("subnets", &list, &cases);
}

#[test]
fn a_text_near_its_form_is_known_again() {
    let type_ = Shape::text(Form::of(r"^[a-z0-9-]+\.[a-z0-9-]+$", "a type", "t3.micro"));
    let cases = [
        ("T3.Micro".into(), "t3.micro"),
        (" t3.micro".into(), "t3.micro"),
        ("micro".into(), ""),
        (Value::Int(3), "\"3\""),
    ];
    assert_meant("type", &type_, &cases);
    let not = super::super::Pattern::parse("-[0-9][a-z]$").ok();
    let region = Form::of("^[a-z]+(-[a-z0-9]+)+$", "a region", "eu-central-1");
    let region = Shape::text(Form { not, ..region });
    let cases = [
        ("EU_Central_1".into(), "eu-central-1"),
        ("eu-central-1a".into(), "eu-central-1"),
        ("Frankfurt".into(), ""),
    ];
    assert_meant("region", &region, &cases);
    let seconds = Shape::text(Form::of("^([0-9]+(s|m|h))+$", "whole seconds", "90s"));
    assert_meant("wait", &seconds, &[("1500ms".into(), "")]);
    let program = Shape::text(Form::program());
    assert_meant("program", &program, &[("".into(), "")]);
    let path = Shape::text(Form::of("^/.", "a path", ""));
    assert_meant(
        "target",
        &path,
        &[("data".into(), "/data"), ("".into(), "")],
    );
    let image = Shape::text(Form::but("[ :]{2}|//", "an image"));
    let url = "https://registry.example.com/web";
    let cases = [(url.into(), "registry.example.com/web")];
    assert_meant("image", &image, &cases);
}

#[test]
fn a_field_is_known_again_by_its_letters_and_where_it_belongs() {
    let disk = ObjectSchema {
        fields: [("iops".to_owned(), field(Shape::Any))].into(),
        ..ObjectSchema::default()
    };
    let disks = Shape::List(ListShape::of(Shape::Object(disk.clone())));
    let fields = [
        ("imageId", Shape::String),
        ("disks", disks),
        ("root", Shape::Object(disk)),
    ];
    let schema = ObjectSchema {
        fields: fields
            .map(|(name, shape)| (name.to_owned(), field(shape)))
            .into(),
        ..ObjectSchema::default()
    };
    let said = |name: &str| {
        let value = [(name.to_owned(), Value::Null)].into_iter().collect();
        schema.check(&value).remove(0).suggestion
    };
    for name in ["image_id", "ImageID", "image-id", "imgeId"] {
        assert_eq!(said(name).as_deref(), Some("imageId"), "{name}");
    }
    assert_eq!(said("iops").as_deref(), Some("disks[].iops"));
    assert_eq!(said("unlike-anything"), None);
}
