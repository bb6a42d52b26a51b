use drover_model::DecisionPoint;

use super::reference;

#[test]
fn the_reference_names_every_variable_with_its_fields() {
    let mut lines = Vec::new();
    for variable in reference().variables {
        let points: Vec<&str> = variable.points.iter().map(|point| point.as_str()).collect();
        let everywhere = points.len() == DecisionPoint::ALL.len();
        let points = if everywhere {
            String::new()
        } else {
            format!(" ({})", points.join(", "))
        };
        lines.push(format!("{}: {}{points}", variable.name, variable.type_));
        lines.extend(
            variable
                .fields
                .iter()
                .map(|field| format!("  {}: {}", field.path, field.type_)),
        );
    }
    insta::assert_snapshot!(lines.join("\n"));
}
