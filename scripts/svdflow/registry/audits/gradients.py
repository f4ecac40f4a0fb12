"""Matrix derivatives, Taylor orders, adjoints, Hessians, and the engines that differentiate."""

from math import nan

from svdflow.registry.audit import Audit
from svdflow.registry.thresholds import Threshold

DECLARED = [
    Audit(
        name="trace_axb",
        summary="d tr(A X B) / dX = A^T B^T (Petersen and Pedersen, Matrix Cookbook, eq. 101)",
        family="gradients",
        limits={
            "identity": Threshold(
                nan, 1e-12, 1e-12, source="complex step (Squire and Trapp 1998): rounding alone; times kappa"
            )
        },
        load="svdflow.selfcheck.gradient_identities:audit_identity",
        keywords={"name": "trace_axb"},
    ),
    Audit(
        name="trace_gradient",
        summary="d tr(X) / dX = I (Matrix Cookbook, eq. 99 with A = I)",
        family="gradients",
        load="svdflow.selfcheck.gradient_identities:audit_identity",
        keywords={"name": "trace_gradient"},
    ),
    Audit(
        name="frobenius_norm",
        summary="d ||X||_F^2 / dX = 2 X (Matrix Cookbook, eq. 115)",
        family="gradients",
        load="svdflow.selfcheck.gradient_identities:audit_identity",
        keywords={"name": "frobenius_norm"},
    ),
    Audit(
        name="frobenius_product",
        summary="d ||A X||_F^2 / dX = 2 A^T A X (Matrix Cookbook, eq. 77 column by column)",
        family="gradients",
        load="svdflow.selfcheck.gradient_identities:audit_identity",
        keywords={"name": "frobenius_product"},
    ),
    Audit(
        name="log_det",
        summary="d ln |det X| / dX = X^-T (Matrix Cookbook, eq. 57); singular values from 1 to 1 / kappa",
        family="gradients",
        load="svdflow.selfcheck.gradient_identities:audit_identity",
        keywords={"name": "log_det"},
    ),
    Audit(
        name="inverse_gradient",
        summary="d a^T X^-1 b / dX = -X^-T a b^T X^-T (Matrix Cookbook, eq. 61)",
        family="gradients",
        load="svdflow.selfcheck.gradient_identities:audit_identity",
        keywords={"name": "inverse_gradient"},
    ),
    Audit(
        name="linear_regression",
        summary="d ||X w - y||^2 / n / dw = 2 X^T (X w - y) / n (normal equations of least squares)",
        family="gradients",
        load="svdflow.selfcheck.gradient_identities:audit_identity",
        keywords={"name": "linear_regression"},
    ),
    Audit(
        name="softmax_cross_entropy",
        summary="Mean cross entropy of softmax: its gradient in the logits is (p - y) / n, y one-hot (Bridle 1990)",
        family="gradients",
        load="svdflow.selfcheck.gradient_identities:audit_identity",
        keywords={"name": "softmax_cross_entropy"},
    ),
    Audit(
        name="softmax_gradient",
        summary="d softmax(x)^T a / dx = p * (a - p^T a), the row of the Jacobian diag(p) - p p^T (Bridle 1990)",
        family="gradients",
        load="svdflow.selfcheck.gradient_identities:audit_identity",
        keywords={"name": "softmax_gradient"},
    ),
    Audit(
        name="layer_norm_gradient",
        summary="Layer normalization of rows (Ba, Kiros and Hinton 2016), summed with weights",
        family="gradients",
        load="svdflow.selfcheck.gradient_identities:audit_identity",
        keywords={"name": "layer_norm_gradient"},
    ),
    Audit(
        name="attention_gradient",
        summary="Scaled dot-product attention softmax(Q K^T / sqrt(d)) V (Vaswani et al. 2017), summed with weights W",
        family="gradients",
        load="svdflow.selfcheck.gradient_identities:audit_identity",
        keywords={"name": "attention_gradient"},
    ),
    Audit(
        name="lndet_kappa",
        summary="ln |det X| at kappa 10, 1e6 and 1e10: its gradient within the predicted error of a central difference",
        family="gradients",
        limits={
            "lndet_kappa": Threshold(
                nan,
                1,
                0.01,
                source="law: multiples of the bound of a central difference; resolution relative",
            ),
            "lndet_naive": Threshold(
                0.1, nan, source="control: differences that ignore s_min err by 100 %; relative error"
            ),
        },
        poor=frozenset({"lndet_naive"}),
        load="svdflow.selfcheck.gradient_identities:audit_lndet_kappa",
    ),
    Audit(
        name="taylor_order",
        summary="Orders at which Taylor remainders of gradients and of Hessians fall",
        family="gradients",
        limits={
            "taylor_order": Threshold(
                0.05, 0.1, 0.001, source="pyadjoint, pymanopt: slope 2; |slope - 2|, resolution relative"
            ),
            "taylor_order_hessian": Threshold(
                0.1, 0.2, 0.01, source="pyadjoint, pymanopt: slope 3; |slope - 3|, resolution relative"
            ),
        },
        load="svdflow.selfcheck.taylor_orders:audit_taylor_order",
        curves="svdflow.selfcheck.curves:differences",
    ),
    Audit(
        name="dual_exact",
        summary="Dual numbers against derivatives to 40 digits, exact integers, and what holds at edges",
        family="gradients",
        limits={
            "dual_exact": Threshold(
                8, 32, 1, source="ulps over condition; 16,000 random expressions: at most 4.3"
            )
        },
        load="svdflow.selfcheck.engines:audit_dual_exact",
    ),
    Audit(
        name="value_exact",
        summary="The reverse-mode engine on the same functions as `dual_exact`",
        family="gradients",
        limits={
            "value_exact": Threshold(
                8, 32, 1, source="ulps over condition; 16,000 random expressions: at most 4.5"
            )
        },
        load="svdflow.selfcheck.engines:audit_value_exact",
    ),
    Audit(
        name="value_engine",
        summary="The reverse-mode engine on a neuron, on a network through its training, on depth, and on repetition",
        family="gradients",
        limits={
            "value_engine": Threshold(
                1e-12, 1e-09, 1e-12, source="relative; first-order rounding of the sums"
            ),
            "xor_loss": Threshold(
                nan, 0.001, 1e-06, source="a 2-8-1 network of tanh can represent exclusive or"
            ),
            "engine_laws": Threshold(nan, 1, source="broken laws; equalities in exact arithmetic"),
        },
        load="svdflow.selfcheck.engines:audit_value_engine",
    ),
    Audit(
        name="adjoint_dot",
        summary="Operators against their adjoints: the worst dot test of each kind",
        family="gradients",
        limits={
            "adjoint_dot": Threshold(
                10,
                100,
                10,
                source="units of n eps ||A v|| ||u||: Cauchy and Higham (2002), 3.5; PyLops takes 1e-6",
            )
        },
        load="svdflow.selfcheck.adjoint:audit_adjoint_dot",
    ),
    Audit(
        name="hvp",
        summary="Hessian products: symmetry, linearity, differences of the gradient, and the order of the remainder",
        family="gradients",
        limits={
            "hvp": Threshold(
                1e-08, 1e-05, 1e-08, source="relative; after pymanopt check_hessian; largest of 4,000: 3e-13"
            ),
            "hvp_order": Threshold(
                0.1, 0.2, 0.1, source="slope 3 of Taylor's theorem; pyadjoint taylor_test"
            ),
        },
        load="svdflow.selfcheck.hessian:audit_hvp",
    ),
    Audit(
        name="svd_derivative",
        summary="Simple singular values: forward, backward and gradient of s_i against planted changes at five scales",
        family="gradients",
        limits={
            "svd_derivative": Threshold(
                10,
                100,
                10,
                source="units of max(m, n) eps s_1 / gap: Wedin (1972); largest of 150 seeds: 3.5",
            )
        },
        load="svdflow.selfcheck.planted_derivatives:audit_svd_derivative",
    ),
    Audit(
        name="svd_gauge",
        summary="Functions that do not see which basis of a cluster was chosen: neither may their gradients",
        family="gradients",
        limits={
            "svd_gauge": Threshold(
                10,
                100,
                10,
                source="units of max(m, n) eps and the gap within the cluster: Davis and Kahan (1970)",
            )
        },
        load="svdflow.selfcheck.planted_derivatives:audit_svd_gauge",
    ),
    Audit(
        name="svd_clusters",
        summary="Derivatives of single vectors as their gap closes: a number, a number with few digits, and no number",
        family="gradients",
        limits={
            "svd_clusters": Threshold(
                1e-08, 1e-06, 1e-06, source="as fine as `gradient`; rounding makes u s_1 / gap"
            )
        },
        load="svdflow.selfcheck.planted_derivatives:audit_svd_clusters",
    ),
    Audit(
        name="svd_truncated",
        summary="Gradients through two triplets of a 6 x 5 matrix, whose other three begin at 0.7, 0.3 and 0.1 of s_2",
        family="gradients",
        limits={
            "svd_truncated": Threshold(
                1e-12, 1e-09, 1e-12, source="first-order rounding n eps (s_1/gap)^2; Francuz et al. (2025)"
            ),
            "svd_naive": Threshold(
                1e-06, nan, source="a known fault, shown beside svd_truncated: Francuz et al. (2025)"
            ),
        },
        poor=frozenset({"svd_naive"}),
        load="svdflow.selfcheck.planted_derivatives:audit_svd_truncated",
    ),
]
