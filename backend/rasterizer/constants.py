"""The numbers that define the picture. Every rasteriser of this room uses them, so that all draw the same frame."""

NEAR_PLANE_METERS = 0.01  # camera z in metres; a Gaussian whose centre is nearer, or behind, is not drawn
SCREEN_BLUR_VARIANCE = 0.3  # px²; added to the projected covariance's diagonal, so that nothing is thinner than a pixel
MIN_ALPHA = 1 / 255  # where its alpha falls below this, a Gaussian ends
MAX_ALPHA = 0.99  # alpha saturates here, which keeps 1 - alpha away from zero
# A pixel is finished once less than this passes through what was drawn. A little below (1 - ALPHA_MAX)², which two
# saturated Gaussians reach exactly: there rounding would decide.
MIN_TRANSMITTANCE = 0.9e-4
FRUSTUM_MARGIN = 0.3  # of the frame's half size; beyond it the projection's Jacobian is held constant, as in gsplat
MAX_SCREEN_VARIANCE = (
    1e30  # px²; a projection wider than this is not a number a float32 kernel can use, so it is not drawn
)
MIN_QUATERNION_NORM = 1e-12  # shorter quaternions are divided by this instead of by their length
