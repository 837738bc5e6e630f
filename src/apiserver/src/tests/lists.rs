//! Lists: selectors, pages, versions, tables.

use serde_json::{Value, json};

use super::support::{Cluster, request};
use crate::Identity;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn fill(cluster: &Cluster, count: usize) {
    for n in 0..count {
        let body =
            json!({"metadata": {"name": format!("m{n:03}"), "labels": {"odd": (n % 2 == 1).to_string()}}});
        cluster.post(MAPS, body).await.expect(201);
    }
}

fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().unwrap();
    items.iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_list_carries_the_revision_of_its_snapshot_and_each_item_its_own() {
    let cluster = Cluster::new().await;
    let empty = cluster.get(MAPS).await.expect(200).json();
    assert_eq!((&empty["kind"], &empty["apiVersion"]), (&json!("ConfigMapList"), &json!("v1")));
    assert_eq!(empty["items"], json!([]));
    let before: u64 = empty["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    assert!(before > 0);
    fill(&cluster, 2).await;
    let list = cluster.get(MAPS).await.json();
    let versions: Vec<u64> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap())
        .collect();
    assert!(before < versions[0] && versions[0] < versions[1]);
    assert_eq!(list["metadata"]["resourceVersion"], versions[1].to_string());
    let old = cluster
        .get(&format!("{MAPS}?resourceVersion={}&resourceVersionMatch=Exact", versions[0]))
        .await
        .json();
    assert_eq!(names(&old), ["m000"]);
}

#[tokio::test]
async fn selectors_choose_by_label_name_and_field() {
    let cluster = Cluster::new().await;
    fill(&cluster, 4).await;
    let list = async |query: &str| names(&cluster.get(&format!("{MAPS}?{query}")).await.expect(200).json());
    assert_eq!(list("labelSelector=odd%3Dtrue").await, ["m001", "m003"]);
    assert_eq!(list("labelSelector=odd+notin+(true)").await, ["m000", "m002"]);
    assert_eq!(list("fieldSelector=metadata.name%3Dm002").await, ["m002"]);
    assert_eq!(list("fieldSelector=metadata.name!%3Dm002").await, ["m000", "m001", "m003"]);
    assert_eq!(list("fieldSelector=metadata.name%3Dm0").await, Vec::<String>::new());
    let all = cluster.get("/api/v1/configmaps?fieldSelector=metadata.namespace%3Ddefault").await.json();
    assert_eq!(names(&all).len(), 4);
}

#[tokio::test]
async fn pages_show_one_state_while_others_write() {
    let cluster = Cluster::new().await;
    fill(&cluster, 10).await;
    for selector in ["", "&labelSelector=odd"] {
        let mut seen = Vec::new();
        let mut token = String::new();
        let mut version = None;
        loop {
            let page =
                cluster.get(&format!("{MAPS}?limit=3{selector}&continue={token}")).await.expect(200).json();
            assert!(page["items"].as_array().unwrap().len() <= 3);
            seen.extend(names(&page));
            let at = page["metadata"]["resourceVersion"].clone();
            assert_eq!(*version.get_or_insert_with(|| at.clone()), at);
            let left = page["metadata"].get("remainingItemCount").and_then(Value::as_i64);
            if selector.is_empty() && seen.len() < 10 {
                assert_eq!(left, Some(10 - i64::try_from(seen.len()).unwrap()));
            } else {
                assert_eq!(left, None);
            }
            // Between the pages, one of them goes and another comes.
            let extra = format!("{}-{}", if selector.is_empty() { "a" } else { "b" }, seen.len());
            cluster
                .post(MAPS, json!({"metadata": {"name": extra, "labels": {"new": "1"}}}))
                .await
                .expect(201);
            token = page["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
            if token.is_empty() {
                break;
            }
        }
        let expected: Vec<String> = (0..10).map(|n| format!("m{n:03}")).collect();
        assert_eq!(seen, expected);
        let list = cluster
            .call(Identity::admin(), request("DELETE", &format!("{MAPS}?labelSelector=new"), "", ""))
            .await;
        list.expect(200);
    }
}

#[tokio::test]
async fn an_expired_page_is_410_with_a_token_that_goes_on() {
    let cluster = Cluster::new().await;
    fill(&cluster, 6).await;
    let page = cluster.get(&format!("{MAPS}?limit=2")).await.json();
    let token = page["metadata"]["continue"].as_str().unwrap().to_owned();
    fill_more(&cluster).await;
    let newest = cluster.store.revision().await.unwrap();
    cluster.store.compact(newest).await.unwrap();
    let expired = cluster.get(&format!("{MAPS}?limit=2&continue={token}")).await.expect(410);
    assert_eq!(expired.reason(), "Expired");
    let fresh = expired.json()["metadata"]["continue"].as_str().unwrap().to_owned();
    let rest = cluster.get(&format!("{MAPS}?continue={fresh}")).await.expect(200).json();
    assert_eq!(names(&rest), ["m002", "m003", "m004", "m005", "z"]);
}

async fn fill_more(cluster: &Cluster) {
    cluster.post(MAPS, json!({"metadata": {"name": "z"}})).await.expect(201);
}

#[tokio::test]
async fn a_big_list_is_whole_also_in_gzip_and_as_a_table() {
    let cluster = Cluster::new().await;
    for n in 0..100 {
        let body = json!({"metadata": {"name": format!("m{n:03}")}, "data": {"x": "y".repeat(4000)}});
        cluster.post(MAPS, body).await.expect(201);
    }
    let plain = cluster.get(MAPS).await.expect(200);
    assert_eq!(names(&plain.json()).len(), 100);
    let mut zipped = request("GET", MAPS, "", "");
    zipped.headers_mut().insert("accept-encoding", "gzip".parse().unwrap());
    let zipped = cluster.call(Identity::admin(), zipped).await.expect(200);
    assert_eq!(zipped.headers["content-encoding"], "gzip");
    assert!(zipped.bytes.len() < plain.bytes.len() / 10);
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&zipped.bytes[..]), &mut text).unwrap();
    assert_eq!(text, plain.text());
    let mut table = request("GET", &format!("{MAPS}?includeObject=None&limit=3"), "", "");
    table.headers_mut().insert("accept", "application/json;as=Table;v=v1;g=meta.k8s.io".parse().unwrap());
    let table = cluster.call(Identity::admin(), table).await.expect(200).json();
    assert_eq!((&table["kind"], table["rows"].as_array().unwrap().len()), (&json!("Table"), 3));
    assert_eq!(table["columnDefinitions"][0]["name"], "Name");
    assert_eq!(table["rows"][0]["cells"][0], "m000");
    assert!(table["rows"][0]["object"].is_null() && table["metadata"]["continue"].is_string());
}
