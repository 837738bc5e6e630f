use std::time::Duration;

use copepod_base::clock;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_key_added_twice_is_handed_out_once_and_in_order() {
    let queue = Queue::new();
    queue.add("a");
    queue.add("b");
    queue.add("a");
    assert_eq!(queue.len(), 2);
    assert_eq!(queue.next().await, Some("a"));
    assert_eq!(queue.next().await, Some("b"));
    assert!(queue.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_key_added_while_worked_on_comes_again_after_done() {
    let queue = Queue::new();
    queue.add("a");
    queue.next().await;
    queue.add("a");
    queue.add("a");
    assert!(tokio::time::timeout(SECOND, queue.next()).await.is_err());
    queue.done(&"a");
    assert_eq!(queue.next().await, Some("a"));
    queue.done(&"a");
    assert!(tokio::time::timeout(SECOND, queue.next()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn the_earliest_of_several_delays_counts() {
    let queue = Queue::new();
    let started = clock::instant();
    queue.add_after("a", 5 * SECOND);
    queue.add_after("a", 2 * SECOND);
    queue.add_after("a", 9 * SECOND);
    assert_eq!(queue.next().await, Some("a"));
    assert_eq!(started.elapsed().as_secs(), 2);
    queue.done(&"a");
    assert!(tokio::time::timeout(20 * SECOND, queue.next()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_earlier_delay_wakes_a_worker_that_sleeps_for_a_later_one() {
    let queue = Queue::new();
    queue.add_after("late", 60 * SECOND);
    let started = clock::instant();
    let worker = queue.clone();
    let waiting = tokio::spawn(async move { worker.next().await });
    tokio::task::yield_now().await;
    queue.add_after("early", SECOND);
    assert_eq!(waiting.await.unwrap(), Some("early"));
    assert_eq!(started.elapsed(), SECOND);
}

#[tokio::test(start_paused = true)]
async fn delayed_keys_are_on_time_although_another_worker_is_busy() {
    let queue = Queue::new();
    let workers: Vec<_> = (0..2)
        .map(|_| {
            let queue = queue.clone();
            // Never done: each worker takes one key.
            tokio::spawn(async move { (queue.next().await.unwrap(), clock::instant()) })
        })
        .collect();
    tokio::task::yield_now().await;
    let started = clock::instant();
    queue.add_after(1, SECOND);
    queue.add_after(2, 2 * SECOND);
    for worker in workers {
        let (key, at) = worker.await.unwrap();
        assert_eq!(at - started, SECOND * key);
    }
}

#[tokio::test(start_paused = true)]
async fn failures_double_the_delay_until_they_are_forgotten() {
    let queue = Queue::new();
    let mut last = Duration::ZERO;
    for failures in 1..=8 {
        let started = clock::instant();
        queue.retry("a");
        assert_eq!(queue.failures(&"a"), failures);
        assert_eq!(queue.next().await, Some("a"));
        queue.done(&"a");
        assert!(started.elapsed() > last);
        last = started.elapsed();
    }
    assert!(last >= Duration::from_millis(640) && last < Duration::from_millis(800), "{last:?}");
    queue.forget(&"a");
    let started = clock::instant();
    queue.retry("a");
    queue.next().await;
    assert!(started.elapsed() < Duration::from_millis(10));
}

#[tokio::test(start_paused = true)]
async fn the_delay_after_many_failures_stays_near_its_maximum() {
    let queue = Queue::new();
    for _ in 0..100 {
        queue.retry("a");
        queue.next().await;
        queue.done(&"a");
    }
    let started = clock::instant();
    queue.retry("a");
    queue.next().await;
    assert!((1000..=1200).contains(&started.elapsed().as_secs()));
}

#[tokio::test]
async fn closing_ends_every_waiting_worker() {
    let queue = Queue::<u8>::new();
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let queue = queue.clone();
            tokio::spawn(async move { queue.next().await })
        })
        .collect();
    tokio::task::yield_now().await;
    queue.close();
    for worker in workers {
        assert_eq!(worker.await.unwrap(), None);
    }
    queue.add(1);
    assert_eq!(queue.next().await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_key_is_ever_with_two_workers_and_none_is_forgotten() {
    let queue = Queue::new();
    let busy: Arc<Vec<tokio::sync::Mutex<u32>>> =
        Arc::new((0..8).map(|_| tokio::sync::Mutex::new(0)).collect());
    let workers: Vec<_> = (0..8)
        .map(|_| {
            let (queue, busy) = (queue.clone(), busy.clone());
            tokio::spawn(async move {
                while let Some(key) = queue.next().await {
                    let key: usize = key;
                    let mut count = busy[key].try_lock().expect("the key is with another worker");
                    *count += 1;
                    tokio::task::yield_now().await;
                    drop(count);
                    queue.done(&key);
                }
            })
        })
        .collect();
    for round in 0..10_000 {
        queue.add(round % 8);
        if round % 64 == 0 {
            tokio::task::yield_now().await;
        }
    }
    while !queue.is_empty() {
        tokio::task::yield_now().await;
    }
    queue.close();
    for worker in workers {
        worker.await.unwrap();
    }
    for count in busy.iter() {
        assert!(*count.lock().await > 0);
    }
}
