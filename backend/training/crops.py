"""Face crops as the recognisers of ArcFace's family want them, and the roughening that training adds to pictures.

The crop is a similarity transform of five keypoints onto fixed places of a 112 x 112 square: the places are ArcFace's
(Deng et al. 2019, https://arxiv.org/abs/1801.07698; insightface, utils/face_align.py), and the transform is the least-squares
one (Umeyama 1991), which in the plane has the closed form used here.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

CROP = 112
PLACES = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]], np.float32)

Picture = NDArray[np.uint8]


def alignment(keypoints: NDArray[np.float32]) -> NDArray[np.float64]:
    """The 2 x 3 matrix that takes keypoints (5, 2) in pixels onto the crop, in least squares, without mirroring.

    With points as complex numbers z and places w (both about their means) the best similarity w = a z is a = sum(conj(z) w) / sum |z|^2.
    """
    points = keypoints.astype(np.float64)
    centre, goal = points.mean(0), PLACES.astype(np.float64).mean(0)
    z = (points - centre) @ np.array([1.0, 1.0j])
    w = (PLACES - goal) @ np.array([1.0, 1.0j])
    a = (z.conj() * w).sum() / max(float((np.abs(z) ** 2).sum()), 1e-9)
    turn = np.array([[a.real, -a.imag], [a.imag, a.real]])
    return np.concatenate([turn, (goal - turn @ centre)[:, None]], 1)


def crop(picture: Picture, keypoints: NDArray[np.float32]) -> Picture:
    """The aligned face, uint8 (112, 112, 3), black where the picture ends; same bytes as insightface's norm_crop."""
    return np.asarray(cv2.warpAffine(picture, alignment(keypoints), (CROP, CROP), borderValue=(0.0, 0.0, 0.0)), np.uint8)


def roughen(picture: Picture, rng: np.random.Generator, strength: float = 1.0) -> Picture:
    """A worse version of a picture (H, W, 3): smaller and back, blurred, noisy, other light, a little compressed in colour.

    Generated pictures are softer than drawn ones and a little off in colour; what must work on them has to see such pictures in training.
    """
    height, width = picture.shape[:2]
    out: Picture = picture
    if rng.random() < 0.5 * strength:
        factor = rng.uniform(0.4, 0.95)
        small = cv2.resize(out, (max(8, int(width * factor)), max(8, int(height * factor))), interpolation=cv2.INTER_AREA)
        back = cv2.resize(small, (width, height), interpolation=int(rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC])))
        out = np.asarray(back, np.uint8)
    if rng.random() < 0.3 * strength:
        out = np.asarray(cv2.GaussianBlur(out, (0, 0), rng.uniform(0.4, 1.5) * width / 128.0), np.uint8)
    if rng.random() < 0.35 * strength:
        out = _smeared(out, rng.uniform(0.8, 3.0) * width / 128.0, rng.uniform(0.6, 1.1))
    if rng.random() < 0.6 * strength:
        gain = rng.uniform(0.88, 1.12) * rng.uniform(0.96, 1.04, 3)
        shift = rng.uniform(-10, 10) + rng.uniform(-5, 5, 3)
        out = np.clip(out * gain.astype(np.float32) + shift.astype(np.float32), 0, 255).astype(np.uint8)
    if rng.random() < 0.4 * strength:
        noise = rng.standard_normal((height, width, 3), np.float32) * np.float32(rng.uniform(1.0, 8.0))
        out = np.clip(out.astype(np.float32) + noise, 0, 255).astype(np.uint8)
    return out


def _smeared(picture: Picture, sigma: float, saturation: float) -> Picture:
    """Colour blurred and weakened, lightness kept: what a small autoencoder does to lips, hair and eyes."""
    out = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2YCrCb), np.uint8)
    colour = np.asarray(cv2.GaussianBlur(out[..., 1:], (0, 0), sigma), np.float32)
    out[..., 1:] = np.clip((colour - 128.0) * saturation + 128.0, 0, 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(out, cv2.COLOR_YCrCb2RGB), np.uint8)


def cover(picture: Picture, rng: np.random.Generator, most: float = 0.35) -> Picture:
    """A picture with one flat rectangle over it, sides up to `most` of the picture's (random erasing, Zhong et al. 2017)."""
    height, width = int(picture.shape[0]), int(picture.shape[1])
    high, wide = rng.uniform(0.08, most), rng.uniform(0.08, most)
    h, w = round(high * height), round(wide * width)
    y, x = int(rng.integers(0, height - h)), int(rng.integers(0, width - w))
    out = picture.copy()
    out[y : y + h, x : x + w] = rng.integers(0, 256, 3)
    return out
