use serde_json::json;

use super::*;

fn deployment(replicas: i32, surge: serde_json::Value, unavailable: serde_json::Value) -> Deployment {
    serde_json::from_value(json!({"metadata": {"name": "d"}, "spec": {
        "replicas": replicas, "selector": {}, "template": {},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}}}))
    .unwrap()
}

fn set(name: &str, size: i32, available: i32, noted: (i32, i32)) -> Arc<ReplicaSet> {
    Arc::new(
        serde_json::from_value(json!({
            "metadata": {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z",
                "annotations": {(DESIRED): noted.0.to_string(), (MAX): noted.1.to_string()}},
            "spec": {"replicas": size, "selector": {}},
            "status": {"replicas": size, "availableReplicas": available}}))
        .unwrap(),
    )
}

fn sizes(steps: &[Step]) -> Vec<(String, i32)> {
    steps.iter().map(|(set, size)| (set.metadata.name.clone().unwrap(), *size)).collect()
}

#[test]
fn percentages_round_surge_up_and_unavailable_down() {
    assert_eq!(Bounds::of(&deployment(10, json!("25%"), json!("25%"))), Bounds { surge: 3, unavailable: 2 });
    assert_eq!(Bounds::of(&deployment(1, json!("25%"), json!("25%"))), Bounds { surge: 1, unavailable: 0 });
    assert_eq!(Bounds::of(&deployment(1, json!(0), json!("25%"))), Bounds { surge: 0, unavailable: 1 });
}

#[test]
fn the_newest_set_grows_only_into_the_surge() {
    let d = deployment(10, json!(3), json!(2));
    assert_eq!(of_newest(&d, 0, &[set("old", 10, 10, (10, 13))]), 3);
    assert_eq!(of_newest(&d, 3, &[set("old", 6, 6, (10, 13))]), 7);
    assert_eq!(of_newest(&d, 12, &[]), 10);
}

#[test]
fn old_pods_go_as_far_as_availability_allows() {
    let d = deployment(10, json!(3), json!(2));
    // 13 pods, 10 available, at least 8 must be: two may go.
    let steps = shrink_old(&d, &set("new", 3, 0, (10, 13)), &[set("old", 10, 10, (10, 13))]);
    assert_eq!(sizes(&steps), [("old".to_owned(), 8)]);
}

#[test]
fn old_pods_that_never_became_available_go_first() {
    let d = deployment(10, json!(3), json!(2));
    let broken = set("broken", 4, 0, (10, 13));
    let steps = shrink_old(&d, &set("new", 1, 0, (10, 13)), &[broken, set("old", 8, 8, (10, 13))]);
    assert_eq!(sizes(&steps), [("broken".to_owned(), 0)]);
}

#[test]
fn nothing_goes_while_new_pods_are_missing() {
    let d = deployment(4, json!(1), json!(0));
    assert!(shrink_old(&d, &set("new", 1, 0, (4, 5)), &[set("old", 4, 4, (4, 5))]).is_empty());
}

#[test]
fn a_single_active_set_takes_the_new_size_at_once() {
    let d = deployment(7, json!(1), json!(0));
    let only = set("only", 3, 3, (3, 4));
    assert!(is_scaling(&d, std::slice::from_ref(&only)));
    assert_eq!(sizes(&scaled(&d, Some(&only), &[set("old", 0, 0, (3, 4))])), [("only".to_owned(), 7)]);
}

#[test]
fn sets_in_a_rollout_are_scaled_in_proportion() {
    // 10 -> 20 with surge 3: 13 pods become 23, split as 5 to 8.
    let d = deployment(20, json!(3), json!(2));
    let (old, new) = (set("old", 8, 8, (10, 13)), set("new", 5, 5, (10, 13)));
    let steps = sizes(&scaled(&d, Some(&new), &[old]));
    assert_eq!(steps.iter().map(|(_, size)| size).sum::<i32>(), 23);
    assert_eq!(steps, [("old".to_owned(), 14), ("new".to_owned(), 9)]);
}

#[test]
fn scaling_to_zero_empties_every_set() {
    let d = deployment(0, json!(3), json!(2));
    let steps = sizes(&scaled(&d, Some(&set("new", 5, 5, (10, 13))), &[set("old", 8, 8, (10, 13))]));
    assert!(steps.iter().all(|(_, size)| *size == 0), "{steps:?}");
}

#[test]
fn every_rollout_ends_and_keeps_its_bounds() {
    for (replicas, surge, unavailable) in [(1, 1, 0), (1, 0, 1), (5, 2, 1), (10, 3, 2), (7, 0, 3), (4, 4, 4)]
    {
        let d = deployment(replicas, json!(surge), json!(unavailable));
        let (mut new, mut old) = (0, replicas);
        for round in 0.. {
            assert!(round < 100, "stuck at {old} old and {new} new of {replicas}");
            if old == 0 && new == replicas {
                break;
            }
            let olds = [set("old", old, old, (replicas, replicas + surge))];
            let grown = of_newest(&d, new, &olds);
            if grown == new {
                let steps = shrink_old(&d, &set("new", new, new, (replicas, replicas + surge)), &olds);
                old = steps.first().map_or(old, |(_, size)| *size);
            } else {
                new = grown;
            }
            assert!(old + new <= replicas + surge && old + new >= replicas - unavailable, "{old} + {new}");
        }
    }
}
