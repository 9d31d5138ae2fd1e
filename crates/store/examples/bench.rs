//! bench
use std::sync::Arc;
use std::time::Instant;
use execgate_model::*;
use execgate_store::*;

fn d(seed: u64, tag: u8) -> Digest {
    let mut x = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (u64::from(tag) << 56);
    let mut b = [0u8; 32];
    for c in b.chunks_mut(8) { x ^= x >> 29; x = x.wrapping_mul(0xBF58_476D_1CE4_E5B9); x ^= x >> 32; x=x.wrapping_add(0x9E37_79B9_7F4A_7C15); c.copy_from_slice(&x.to_le_bytes()); }
    Digest::from_bytes(b)
}
fn rid(n: u64) -> RunId { let b = d(n, 9); let mut s=[0;16]; s.copy_from_slice(&b.as_bytes()[..16]); RunId::from_entropy(s) }

async fn one(store: &Arc<dyn Store>, n: u64, paid: bool) {
    let run = rid(n);
    let claim = Claim { run, instance: store.instance(), nonce_key: Some(d(n,1)), fingerprint: d(n,2), owner: Some(d(n,3)), action: ActionName::new("python").unwrap(), effect: Effect::Live, caller: "grant:alice".into(), rail: "x402".into(), price: Amount::from_micros(20000),
        payment: paid.then(|| NewPayment{ key: d(n,4), payer: "0x1234567890123456789012345678901234567890".into(), state: vec![7;600], rail: "x402".into(), amount: Amount::from_micros(20000)}),
        approval: None, salt: *d(n,5).as_bytes(), intent: vec![1; 700], leaf: Leaf{kind: LeafKind::Intent, digest: d(n,6)}, at: UnixMs(1_700_000_000_000 + n/10) };
    assert!(matches!(store.claim(claim).await.unwrap(), Claimed::Fresh));
    let fin = Finish { run, instance: store.instance(), stage: Stage::Settled, outcome: "value".into(), content: d(n,7), receipt: vec![3; 1500], answer: Answer{status:200, content_type:"application/json".into(), body: vec![4; 300]}, leaf: Leaf{kind:LeafKind::Final, digest: d(n,8)}, at: UnixMs(1_700_000_000_000 + n/10) };
    assert_eq!(store.finish(fin).await.unwrap(), Finished::Recorded);
}
fn pct(v: &mut [f64], p: f64) -> f64 { v.sort_by(|a,b| a.total_cmp(b)); v[((v.len()-1) as f64 * p) as usize] }

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let dir = std::path::PathBuf::from(&args[1]);
    let seconds: f64 = args[2].parse().unwrap();
    let fresh: u64 = args.get(3).map_or(0, |a| a.parse().unwrap());
    let workers: usize = args.get(4).map_or(2, |a| a.parse().unwrap());
    let rt = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build().unwrap();
    rt.block_on(async move {
        let t = Instant::now();
        let store = open(&OpenOptions{ url: "sqlite://bench.db".into(), data_dir: dir, instance: InstanceId::from_entropy(std::process::id().to_le_bytes().repeat(4).try_into().unwrap()), at: UnixMs(1)}).unwrap();
        println!("open {:?}", t.elapsed());
        let base = fresh * 100_000_000;
        let n = Arc::new(std::sync::atomic::AtomicU64::new(base));
        for (callers, paid) in [(1usize, false), (1, true), (64, false), (64, true), (256, false)] {
            let t = Instant::now();
            let cpu = std::fs::read_to_string("/proc/self/stat").unwrap();
            let mut hs = vec![];
            for _ in 0..callers {
                let (store, n) = (store.clone(), n.clone());
                hs.push(tokio::spawn(async move {
                    let mut lat = vec![];
                    while t.elapsed().as_secs_f64() < seconds {
                        let i = n.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        let s = Instant::now();
                        one(&store, i, paid).await;
                        lat.push(s.elapsed().as_secs_f64()*1e3);
                    }
                    lat
                }));
            }
            let mut lat = vec![];
            for h in hs { lat.extend(h.await.unwrap()); }
            let el = t.elapsed().as_secs_f64();
            let cpu2 = std::fs::read_to_string("/proc/self/stat").unwrap();
            let f = |s: &str| -> f64 { let v: Vec<&str> = s.split(' ').collect(); (v[13].parse::<f64>().unwrap()+v[14].parse::<f64>().unwrap())/100.0 };
            println!("callers {callers} paid {paid}: {:.0} runs/s p50 {:.3} p90 {:.3} p99 {:.3} p999 {:.3} max {:.1} ms cpu {:.0}%  us/run {:.0}", lat.len() as f64/el, pct(&mut lat,0.5), pct(&mut lat,0.9), pct(&mut lat,0.99), pct(&mut lat,0.999), pct(&mut lat,1.0), (f(&cpu2)-f(&cpu))/el*100.0, (f(&cpu2)-f(&cpu))/lat.len() as f64*1e6);
        }
        let top = n.load(std::sync::atomic::Ordering::Relaxed) - base;
        // reads, quiet and beside writes
        for busy in [false, true] {
            let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
            let mut hs = vec![];
            if busy { for _ in 0..8 { let (store,n,stop)=(store.clone(),n.clone(),stop.clone()); hs.push(tokio::spawn(async move { while !stop.load(std::sync::atomic::Ordering::Relaxed) { let i = n.fetch_add(1, std::sync::atomic::Ordering::Relaxed); one(&store,i,false).await; } })); } }
            let st = store.clone();
            let mut lat = tokio::spawn(async move { let mut lat=vec![]; for i in 0..20000u64 { let k = base + (i*7919)%top; let s=Instant::now(); let r = st.by_nonce(d(k,1)).await.unwrap(); lat.push(s.elapsed().as_secs_f64()*1e6); assert!(r.is_some()); } lat }).await.unwrap();
            println!("read busy={busy}: p50 {:.1} p90 {:.1} p99 {:.1} max {:.0} us", pct(&mut lat,0.5), pct(&mut lat,0.9), pct(&mut lat,0.99), pct(&mut lat,1.0));
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            for h in hs { h.await.unwrap(); }
        }
        let t = Instant::now(); store.close().await; println!("close {:?}", t.elapsed());
    });
}
