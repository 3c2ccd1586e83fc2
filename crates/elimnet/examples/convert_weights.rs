//! Reads a checkpoint of any kind and saves it as safetensors with torchvision's names:
//! `cargo run -p elimnet --example convert_weights -- resnet18.pth resnet18.safetensors`

use std::error::Error;

use elimnet::weights::{read_checkpoint, write_safetensors};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(input), Some(output)) = (arguments.next(), arguments.next()) else {
        return Err("usage: convert_weights CHECKPOINT OUTPUT.safetensors".into());
    };
    let checkpoint = read_checkpoint(input)?;
    Ok(write_safetensors(output, &checkpoint.tensors, &checkpoint.metadata)?)
}
