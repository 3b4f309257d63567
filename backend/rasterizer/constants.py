"""The numbers that define the image. All implementations use them, so that all draw the same image."""

# Camera z in metres below which a Gaussian is not drawn. Larger cuts off what stands close to the camera. As in gsplat.
NEAR_PLANE_METERS = 0.01
# Pixels²: added to the diagonal of the projected covariance, so that nothing is thinner than a pixel. Larger blurs.
# Kerbl et al. 2023.
SCREEN_BLUR_VARIANCE = 0.3
# A Gaussian ends where its alpha falls below this. Smaller draws larger, slower ellipses. Kerbl et al. 2023.
MIN_ALPHA = 1 / 255
# Alpha saturates here, which keeps 1 - alpha away from zero. Kerbl et al. 2023.
MAX_ALPHA = 0.99
# A pixel is finished when its transmittance falls below this. Kerbl et al. use 1e-4, which is (1 - MAX_ALPHA)²; two
# saturated Gaussians reach it exactly, and rounding would decide, so it is a little lower here.
MIN_TRANSMITTANCE = 0.9e-4
# Share of the image's half size outside the image beyond which the projection's Jacobian is held constant. As in
# gsplat.
FRUSTUM_MARGIN = 0.3
# Pixels²: a wider projection is not drawn, because its square leaves the range of float32.
MAX_SCREEN_VARIANCE = 1e30
# Shorter quaternions are divided by this instead of by their length, so that a zero quaternion gives no NaN.
MIN_QUATERNION_NORM = 1e-12
