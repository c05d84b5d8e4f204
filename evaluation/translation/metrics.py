"""How close a translated image is to the measured one: PSNR and SSIM, in torch, so that training can minimise them.

Shapes: B images (B, 1, H, W) in [0, 1]; h = H - 10 and w = W - 10 for the windows that lie inside the image.
"""

import torch
import torch.nn.functional as F

# Wang and others (IEEE TIP 2004): a Gaussian window of 11 x 11 pixels with a deviation of 1.5, K1 = 0.01, K2 = 0.03.
WINDOW = 11
DEVIATION = 1.5
K1, K2 = 0.01, 0.03
HIGHEST_PSNR = 100.0


def psnr(prediction: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Peak signal-to-noise ratio (B,) in decibels over valid pixels, the peak being 1; at most 100."""
    squared = torch.where(valid, (prediction - target) ** 2, 0).sum(dim=(1, 2, 3))
    error = squared / valid.sum(dim=(1, 2, 3))
    return -10 * torch.log10(error.clamp(min=10 ** (-HIGHEST_PSNR / 10)))


def ssim_map(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Structural similarity (B, 1, h, w) of every window that lies inside the image.

    Its mean is scikit-image's `structural_similarity(..., gaussian_weights=True, sigma=1.5,
    use_sample_covariance=False, data_range=1)`.
    """
    _check(prediction)
    mean_p, mean_t = _window_mean(prediction), _window_mean(target)
    variance_p = _window_mean(prediction**2) - mean_p**2
    variance_t = _window_mean(target**2) - mean_t**2
    covariance = _window_mean(prediction * target) - mean_p * mean_t
    c1, c2 = K1**2, K2**2
    likeness = (2 * mean_p * mean_t + c1) / (mean_p**2 + mean_t**2 + c1)
    return likeness * (2 * covariance + c2) / (variance_p + variance_t + c2)


def valid_windows(valid: torch.Tensor) -> torch.Tensor:
    """Whether each window of `ssim_map` (B, 1, h, w) holds valid pixels only."""
    _check(valid)
    return F.max_pool2d((~valid).float(), WINDOW, stride=1) == 0


def ssim(prediction: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Mean structural similarity (B,) over windows of valid pixels; NaN where there is none."""
    windows = valid_windows(valid)
    summed = torch.where(windows, ssim_map(prediction, target), 0).sum(dim=(1, 2, 3))
    return summed / windows.sum(dim=(1, 2, 3))


def _window_mean(images: torch.Tensor) -> torch.Tensor:
    """Gaussian-weighted means, one direction after the other."""
    offsets = torch.arange(WINDOW, device=images.device, dtype=images.dtype) - WINDOW // 2
    weights = torch.exp(-0.5 * (offsets / DEVIATION) ** 2)
    weights = weights / weights.sum()
    return F.conv2d(F.conv2d(images, weights.view(1, 1, -1, 1)), weights.view(1, 1, 1, -1))


def _check(images: torch.Tensor) -> None:
    height, width = images.shape[-2:]
    if images.ndim != 4 or images.shape[1] != 1 or min(height, width) < WINDOW:
        raise ValueError(
            f"images have the shape {tuple(images.shape)}; SSIM wants (batch, 1, height, width) of at least {WINDOW} "
            "pixels a side."
        )
