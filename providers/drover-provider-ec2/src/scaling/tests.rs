use aws_sdk_autoscaling::types::SuspendedProcess;

use super::*;

fn group(suspended: &[&str]) -> AutoScalingGroup {
    let suspended = suspended.iter();
    let suspended = suspended.map(|name| SuspendedProcess::builder().process_name(*name).build());
    AutoScalingGroup::builder()
        .auto_scaling_group_name("web")
        .set_suspended_processes(Some(suspended.collect()))
        .build()
}

#[test]
fn a_group_acts_until_everything_that_makes_or_ends_instances_is_suspended() {
    assert_eq!(acting(&group(&[])), ACTING);
    assert_eq!(acting(&group(&["AddToLoadBalancer"])), ACTING);
    assert_eq!(acting(&group(&ACTING)), Vec::<&str>::new());
    assert_eq!(acting(&group(&ACTING[..7])), ["InstanceRefresh"]);
}

#[test]
fn a_name_that_a_shell_would_take_apart_is_quoted() {
    let plain = suspend_command("web-1");
    assert!(plain.contains("--auto-scaling-group-name web-1 --scaling-processes Launch "));
    let odd = suspend_command("it's $(reboot)");
    assert!(odd.contains(r"--auto-scaling-group-name 'it'\''s $(reboot)' --"));
}

#[test]
fn the_account_is_read_from_a_name_that_has_it() {
    let arn = "arn:aws:autoscaling:eu-central-1:123456789012:autoScalingGroup:0a:autoScalingGroupName/web";
    assert_eq!(account_of(arn), Some("123456789012"));
    assert_eq!(account_of("web"), None);
}
