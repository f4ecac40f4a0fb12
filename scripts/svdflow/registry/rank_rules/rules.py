"""The rank rules of svdflow."""

from svdflow.registry.kinds import RankRule

DECLARED = [
    RankRule(
        name="gavish_donoho",
        summary="hard threshold for white noise of known level, optimal for Frobenius loss",
        source="Gavish and Donoho (2014), equation 11",
        needs=frozenset({"sigma"}),
        load="svdflow.ranks.hard_thresholds:gavish_donoho_rule",
    ),
    RankRule(
        name="gavish_donoho_median",
        summary="hard threshold for white noise whose level the median singular value tells",
        source="Gavish and Donoho (2014), equation 9",
        needs=frozenset({"all_values"}),
        load="svdflow.ranks.hard_thresholds:gavish_donoho_median_rule",
    ),
    RankRule(
        name="mp_pca",
        summary="components above the Marchenko-Pastur law that the smallest ones follow",
        source="Veraart et al. (2016), equation 12",
        needs=frozenset({"all_values"}),
        load="svdflow.ranks.hard_thresholds:mp_pca_rule",
    ),
    RankRule(
        name="sure",
        summary="components left by the soft threshold of least unbiased risk",
        source="Candes, Sing-Long and Trzasko (2013), theorem IV.2",
        needs=frozenset({"sigma", "all_values"}),
        load="svdflow.ranks.shrinkage:sure_rule",
    ),
    RankRule(
        name="bi_cross_validation",
        summary="the rank that predicts held-out blocks best",
        source="Owen and Perry (2009), section 2.1",
        needs=frozenset({"matrix"}),
        load="svdflow.ranks.cross_validation:bi_cross_validation_rule",
    ),
    RankRule(
        name="screenot",
        summary="hard threshold for noise of unknown law, also correlated",
        source="Donoho, Gavish and Romanov (2023), section 3",
        needs=frozenset({"all_values"}),
        load="svdflow.ranks.hard_thresholds:screenot_rule",
    ),
    RankRule(
        name="elbow",
        summary="where the curve of singular values bends most",
        source="Satopaa et al. (2011), section III",
        load="svdflow.ranks.spectrum_rules:elbow_rule",
    ),
    RankRule(
        name="energy_90",
        summary="the fewest components with 90 % of the energy",
        source="Jolliffe (2002), section 6.1.1",
        load="svdflow.ranks.spectrum_rules:energy_90_rule",
    ),
    RankRule(
        name="energy_99",
        summary="the fewest components with 99 % of the energy",
        source="Jolliffe (2002), section 6.1.1",
        load="svdflow.ranks.spectrum_rules:energy_99_rule",
    ),
]
