use quern_fast::*;
use std::collections::HashMap;
fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let file = std::fs::read(&args[1]).unwrap();
    let number = |i: usize| u64::from_le_bytes(file[8 * i..8 * i + 8].try_into().unwrap()) as usize;
    let n = number(0);
    let base = 8 * (n + 2);
    let t = FastTokenizer::from_json(&std::fs::read(&args[0]).unwrap(), &Options::default()).unwrap();
    let mut m: HashMap<Vec<u8>, usize> = HashMap::new();
    let mut all = 0;
    for i in 0..n {
        let d = std::str::from_utf8(&file[base + number(i + 1)..base + number(i + 2)]).unwrap();
        t.pre(d, |p| {
            all += 1;
            *m.entry(p.to_vec()).or_default() += 1;
        });
    }
    let mut state = ThreadState::new(1 << 20);
    // length class x ids class
    let mut d = [[(0usize, 0usize); 7]; 4];
    for (k, c) in &m {
        let l = match k.len() {
            0..=7 => 0,
            8..=15 => 1,
            16..=31 => 2,
            _ => 3,
        };
        let ids = t.nids(&mut state, k);
        let x = match ids {
            1..=4 => ids,
            5..=8 => 5,
            _ => 6,
        };
        d[l][x].0 += 1;
        d[l][x].1 += c;
    }
    println!("{} {} all {all} distinct {}", args[0], args[1], m.len());
    for (l, name) in ["<=7", "8-15", "16-31", "32+"].iter().enumerate() {
        print!("{name:6}");
        for x in 1..7 {
            print!(
                " | {}{}: {:6} {:.3}%",
                if x < 5 {
                    x.to_string()
                } else if x == 5 {
                    "5-8".into()
                } else {
                    "9+".into()
                },
                "",
                d[l][x].0,
                100.0 * d[l][x].1 as f64 / all as f64
            );
        }
        println!();
    }
}
