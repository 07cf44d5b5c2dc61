# The script of a shell task in DolphinScheduler. docs/operations.md says how to set up the task and its workflow.
# DolphinScheduler replaces names in braces after a dollar sign, so none stand here.
export WDT_EDITION=enterprise
export WDT_SID=acme2
export WDT_APPKEY=acme2-ot
export WDT_APPSECRET_FILE=/etc/wdt-lake/appsecret
export ALERT_WEBHOOK_FILE=/etc/wdt-lake/webhook
exec /usr/local/lib/wdt-lake/run.sh sync --lake /var/lib/wdt-lake/lake
