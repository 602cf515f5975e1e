//! One network, run as often as asked on standard input, for `peers.py` to compare with others.
//!
//! `networks FILE WIDTH HEIGHT OUTPUTS facelatch|tract`: FILE has one input of 1 x 3 x HEIGHT x WIDTH and outputs of so
//! many numbers, OUTPUTS, with commas between them. Each line of the input is a number of runs; each line of the output
//! has the nanoseconds of each of them. `facelatch` is what the daemon does, `tract` the same file by tract alone.
//! `networks peak` measures what the machine could do: the products of bytes a nanosecond with everything in registers.

use std::hint::black_box;
use std::io::{BufRead as _, Write as _};
use std::path::PathBuf;
use std::time::Instant;

use facelatch::digest::Digest;
use facelatch::frame::RgbImage;
use facelatch::infer::manifest::{ChannelOrder, Decode, InputSpec};
use facelatch::infer::network::OutputSpec;
use facelatch::infer::{ModelFile, ModelSpec, PictureNetwork};
use facelatch::kernels;
use tract_onnx::prelude::*;

const USAGE: &str = "networks FILE WIDTH HEIGHT OUTPUTS facelatch|tract, or networks peak; see benches/README.md";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let result = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        // As `cargo bench` calls it.
        [] => {
            println!("{USAGE}");
            Ok(())
        }
        ["peak"] => peak(),
        [file, width, height, outputs, runtime] => network(file, [width, height, outputs], runtime),
        _ => Err(USAGE.into()),
    };
    if let Err(error) = result {
        eprintln!("networks: {error}");
        std::process::exit(2);
    }
}

type Failure = Box<dyn std::error::Error>;

fn network(file: &str, numbers: [&str; 3], runtime: &str) -> Result<(), Failure> {
    let [width, height, outputs] = numbers;
    let (width, height) = (width.parse::<usize>()?, height.parse::<usize>()?);
    let outputs = outputs.split(',').map(|len| Ok(OutputSpec { name: "", len: len.parse()?, each: 1 }));
    let outputs = outputs.collect::<Result<Vec<_>, std::num::ParseIntError>>()?;
    let bytes = std::fs::read(file)?;
    // Pixels as a camera gives them, of every brightness.
    let pixels: Vec<u8> = (0..3 * width * height).map(|k| ((k * 2_654_435_761) >> 7 & 255) as u8).collect();
    match runtime {
        "facelatch" => {
            let spec = described(file, &bytes, width, height, outputs[0].len);
            let file = ModelFile { spec, path: PathBuf::from(file), bytes: bytes.into() };
            let mut network = PictureNetwork::load(&file, width, height, &outputs)?;
            let layers = network.layers();
            let ours = layers.iter().filter(|layer| layer.is_int8).count();
            eprintln!("{}: {ours} of {} layers at eight bits", kernels::active().as_str(), layers.len());
            let picture = RgbImage::from_rgb8(width, height, pixels).ok_or("an impossible size")?;
            answer(|| {
                black_box(network.run(&picture)?);
                Ok(())
            })
        }
        "tract" => {
            let model = tract_onnx::onnx().with_ignore_value_info(true).model_for_read(&mut bytes.as_slice())?;
            let model = model.with_input_fact(0, f32::fact([1, 3, height, width]).into())?;
            let plan = model.into_optimized()?.into_runnable()?;
            let pixels: Vec<f32> = pixels.into_iter().map(f32::from).collect();
            let image: TValue = Tensor::from_shape(&[1, 3, height, width], &pixels)?.into();
            answer(|| {
                black_box(plan.run(tvec!(image.clone()))?);
                Ok(())
            })
        }
        _ => Err(format!("{runtime}: neither facelatch nor tract").into()),
    }
}

fn described(file: &str, bytes: &[u8], width: usize, height: usize, dims: usize) -> ModelSpec {
    let order = ChannelOrder::Rgb;
    ModelSpec {
        name: file.into(),
        file: file.into(),
        sha256: Digest::of(bytes),
        licence: String::new(),
        source: String::new(),
        notes: String::new(),
        decode: Decode::Embedding { dims },
        input: InputSpec { width, height, resizable: false, order, mean: [0.0; 3], scale: [1.0; 3] },
    }
}

/// Serves runs until the input ends.
fn answer(mut run: impl FnMut() -> Result<(), Failure>) -> Result<(), Failure> {
    for line in std::io::stdin().lock().lines() {
        let mut times = String::new();
        for _ in 0..line?.trim().parse::<usize>()? {
            let start = Instant::now();
            run()?;
            times.push_str(&format!("{} ", start.elapsed().as_nanos()));
        }
        println!("{}", times.trim_end());
        std::io::stdout().flush()?;
    }
    Ok(())
}

/// Products of bytes a nanosecond: the best of some runs of an instruction that takes nothing from memory.
fn peak() -> Result<(), Failure> {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512vnni") && std::arch::is_x86_feature_detected!("avx512f") {
            // SAFETY: the CPU has the instructions.
            println!("avx512-vnni {:.1}", best(64, || unsafe { x86::vnni512() }));
        }
        if std::arch::is_x86_feature_detected!("avxvnni") {
            // SAFETY: the CPU has the instructions.
            println!("avx-vnni {:.1}", best(32, || unsafe { x86::vnni256() }));
        }
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the CPU has the instructions.
            println!("avx2 {:.1}", best(16, || unsafe { x86::madd() }));
        }
        return Ok(());
    }
    #[allow(unreachable_code, reason = "on other machines there is nothing to measure yet")]
    Err("the peak is measured on x86-64 only".into())
}

/// Instructions in a run of a loop: registers x rounds.
const REGISTERS: usize = 16;
const ROUNDS: usize = 1 << 20;

#[cfg(target_arch = "x86_64")]
fn best(products: usize, run: impl Fn()) -> f64 {
    let times = (0..20).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed().as_nanos()
    });
    (products * REGISTERS * ROUNDS) as f64 / times.min().unwrap_or(1) as f64
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::asm;
    use std::arch::x86_64::*;
    use std::hint::black_box;

    use super::{REGISTERS, ROUNDS};

    /// Sixteen sums that wait for nobody but themselves. The compiler must not see that each round does the same.
    macro_rules! measured {
        ($name:ident, $features:literal, $zero:ident, $step:literal, $class:ident) => {
            #[target_feature(enable = $features)]
            pub fn $name() {
                let (mut sums, byte) = ([$zero(); REGISTERS], black_box($zero()));
                for _ in 0..ROUNDS {
                    for sum in &mut sums {
                        // SAFETY: it works on registers alone.
                        unsafe { asm!($step, sum = inout($class) *sum, byte = in($class) byte, options(pure, nomem, nostack)) };
                    }
                }
                black_box(sums);
            }
        };
    }

    measured!(vnni512, "avx512f,avx512vnni", _mm512_setzero_si512, "vpdpbusd {sum}, {byte}, {byte}", zmm_reg);
    measured!(vnni256, "avx2,avxvnni", _mm256_setzero_si256, "{{vex}} vpdpbusd {sum}, {byte}, {byte}", ymm_reg);

    /// A product and the addition to the sum: exact sums of bytes without VNNI need both.
    #[target_feature(enable = "avx2")]
    pub fn madd() {
        let (mut sums, byte) = ([_mm256_setzero_si256(); REGISTERS / 2], black_box(_mm256_setzero_si256()));
        for _ in 0..2 * ROUNDS {
            for sum in &mut sums {
                // SAFETY: it works on registers alone.
                unsafe {
                    asm!("vpmaddwd {products}, {byte}, {byte}", "vpaddd {sum}, {sum}, {products}",
                        sum = inout(ymm_reg) *sum, byte = in(ymm_reg) byte, products = out(ymm_reg) _,
                        options(pure, nomem, nostack));
                }
            }
        }
        black_box(sums);
    }
}
