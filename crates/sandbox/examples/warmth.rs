//! scratch
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "scratch")]
use execgate_sandbox::image::{Image, Recipe};
use execgate_sandbox::*;
use execgate_tool::code;
use std::env;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};
fn main() -> ExitCode {
    let argument = env::args().nth(1);
    if argument.as_deref() == Some(HELPER_ARGUMENT) {
        return helper_main();
    }
    let only = argument.unwrap();
    let helper = spawn_helper().unwrap();
    let cache = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tmp/sandbox-images");
    let image = Image::ensure(&cache, &Recipe::host(), &mut |_| {}).unwrap();
    let languages: Vec<_> = code::present(&image.root).into_iter().filter(|l| only == l.name).collect();
    let config = Config {
        languages,
        image: ImageRoot { path: image.root, digest: image.digest },
        slots: 4,
        tier: TierChoice::Exactly(Tier::Jail),
        residents: 2,
        id_block: 0,
    };
    let sandbox = Sandbox::start(helper, config).unwrap();
    let t = Instant::now();
    println!("warm {:?} {:?}", sandbox.warm_up(Duration::from_secs(5)), t.elapsed());
    let code = env::args().nth(2).unwrap();
    let n: usize = env::args().nth(3).map_or(3, |n| n.parse().unwrap());
    let mut times = Vec::new();
    for i in 0..n {
        if env::args().nth(4).is_none() {
            drop(sandbox.warm_up(Duration::from_secs(5)));
        }
        let t = Instant::now();
        let mut request = Request::new(&only, &*code);
        request.args = vec!["x".into(), "y z".into()];
        let run = sandbox.run(request).unwrap();
        let e = t.elapsed();
        times.push(e);
        if i < 3 {
            println!(
                "{e:?} {:?} {:?} {:?} out={:?} err={:?}",
                run.verdict,
                run.value,
                run.exception,
                String::from_utf8_lossy(&run.stdout),
                String::from_utf8_lossy(&run.stderr)
            );
        }
    }
    times.sort();
    println!("p50 {:?} p99 {:?} min {:?}", times[times.len() / 2], times[times.len() * 99 / 100], times[0]);
    ExitCode::SUCCESS
}
