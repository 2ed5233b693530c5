"""The storage providers of the packaged release of libcloud, by name.

They are listed here so that a mistyped name in the settings is found without importing libcloud, which takes
longer than most of a cold start. A test compares the list with libcloud's own.
"""

PROVIDERS = frozenset(
    {
        "aliyun_oss",
        "auroraobjects",
        "azure_blobs",
        "backblaze_b2",
        "cloudfiles",
        "digitalocean_spaces",
        "dummy",
        "google_storage",
        "ktucloud",
        "local",
        "minio",
        "nimbus",
        "ninefold",
        "openstack_swift",
        "ovh",
        "s3",
        "s3_ap_northeast",
        "s3_ap_northeast_1",
        "s3_ap_northeast_2",
        "s3_ap_south",
        "s3_ap_southeast",
        "s3_ap_southeast2",
        "s3_ca_central",
        "s3_cn_north",
        "s3_cn_northwest",
        "s3_eu_central",
        "s3_eu_north_1",
        "s3_eu_west",
        "s3_eu_west_2",
        "s3_rgw",
        "s3_rgw_outscale",
        "s3_sa_east",
        "s3_us_east_2",
        "s3_us_gov_west",
        "s3_us_west",
        "s3_us_west_oregon",
        "scaleway",
    }
)
