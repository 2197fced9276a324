"""What comparisons by PyTorch share: its types and threads."""

import torch

TYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}


def start(threads):
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    return {"name": "torch", "version": torch.__version__,
            "build": f"wheel; {torch.backends.cpu.get_cpu_capability()}, "
                     f"{'MKL' if torch.backends.mkl.is_available() else 'no MKL'}, "
                     f"oneDNN {'on' if torch.backends.mkldnn.is_available() else 'off'}"}
