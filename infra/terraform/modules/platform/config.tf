# The config of runs that name no other, with the keys of conf/glue.yaml. It is no secret: it holds
# no credentials, and whoever may look at the job may read it.

locals {
  public_bucket = "oedi-data-lake"

  source = {
    region       = var.src_region
    endpoint_url = var.config_overrides.source_endpoint_url
    path_style   = var.config_overrides.source_path_style
  }

  catalog = {
    type            = "glue"
    database        = module.warehouse.database_name
    region          = var.region
    warehouse_dir   = module.warehouse.warehouse_uri
    endpoint_url    = var.config_overrides.catalog_endpoint_url
    s3_endpoint_url = var.config_overrides.s3_endpoint_url
    s3_path_style   = var.config_overrides.s3_path_style
  }

  settings = merge(var.settings, {
    log_dir    = "/tmp/oedi-logs" # a disk of the driver; what is said goes to CloudWatch as well
    log_format = "json"           # as the log filters of the module monitoring read it
  })

  # What is null was not set, and the job has a default for it.
  default_config = yamlencode({
    src_bucket   = var.src_bucket
    output_dir   = module.warehouse.output_uri
    job_specific = var.job_specific
    source       = { for key, value in local.source : key => value if value != null }
    catalog      = { for key, value in local.catalog : key => value if value != null }
    settings     = { for key, value in local.settings : key => value if value != null }
    maintenance  = { for key, value in var.maintenance_settings : key => value if value != null }
  })
}
