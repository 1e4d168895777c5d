"""All settings, driven by the environment. A clean clone runs without any of them set."""

from __future__ import annotations

from pathlib import Path

import environ

from config import home

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()

# One line each: README lists them, and a test holds the two together.
HOME = home.prepare(Path(env.str("PAIRLOOP_HOME", str(BASE_DIR / "var"))).resolve())
SECRET_KEY = env.str("SECRET_KEY", "") or home.secret_key(HOME)
DEBUG = env.bool("PAIRLOOP_DEBUG", False)
HTTPS = env.bool("PAIRLOOP_HTTPS", False)
ALLOWED_HOSTS = [*env.list("ALLOWED_HOSTS", default=[]), "127.0.0.1", "localhost", "[::1]"]
PUBLIC_URL = env.str("PAIRLOOP_PUBLIC_URL", "").rstrip("/")
TRUST_PROXY = env.bool("PAIRLOOP_TRUST_PROXY", False)
THREADS = env.int("PAIRLOOP_THREADS", 8)
VOTE_RATE = env.str("PAIRLOOP_VOTE_RATE", "") or None
LOG_LEVEL = env.str("PAIRLOOP_LOG_LEVEL", "INFO")
LAUNCHER = env.str("PAIRLOOP_LAUNCHER", "")
TRAINING_THREADS = env.int("PAIRLOOP_TRAINING_THREADS", 0)
TRACKER = env.str("PAIRLOOP_TRACKER", "none")
REWARD_FUNCTIONS = env.list("PAIRLOOP_REWARD_FUNCTIONS", default=[])
HOUR_PRICE = env.float("PAIRLOOP_HOUR_PRICE", 0.0)
RUN_HOURS = env.float("PAIRLOOP_RUN_HOURS", 24.0)
MIN_FREE_GB = env.float("PAIRLOOP_MIN_FREE_GB", 1.0)
ENDPOINT = env.str("PAIRLOOP_ENDPOINT", "")
ENDPOINT_MODEL = env.str("PAIRLOOP_ENDPOINT_MODEL", "")
ENDPOINT_HOSTS = env.list("PAIRLOOP_ENDPOINT_HOSTS", default=[])
PLAYGROUND_DEVICE = env.str("PAIRLOOP_PLAYGROUND_DEVICE", "auto")
HUB_PUSH = env.bool("PAIRLOOP_HUB_PUSH", False)
HUB_PRIVATE = env.bool("PAIRLOOP_HUB_PRIVATE", False)
IMPORT_ROOTS = env.list("PAIRLOOP_IMPORT_ROOTS", default=[])
MODEL_ROOTS = env.list("PAIRLOOP_MODEL_ROOTS", default=[])
WEBHOOK_HOSTS = env.list("PAIRLOOP_WEBHOOK_HOSTS", default=[])
METRICS_TOKEN = env.str("PAIRLOOP_METRICS_TOKEN", "")
ADDRESS_DAYS = env.int("PAIRLOOP_ADDRESS_DAYS", 30)
REQUIRE_TOTP = env.bool("PAIRLOOP_REQUIRE_TOTP", False)
OIDC_ISSUER = env.str("PAIRLOOP_OIDC_ISSUER", "")
OIDC_CLIENT_ID = env.str("PAIRLOOP_OIDC_CLIENT_ID", "")
OIDC_CLIENT_SECRET = env.str("PAIRLOOP_OIDC_CLIENT_SECRET", "")
OIDC_NAME = env.str("PAIRLOOP_OIDC_NAME", "")
OIDC_CREATE = env.bool("PAIRLOOP_OIDC_CREATE", False)
OIDC_DOMAINS = env.list("PAIRLOOP_OIDC_DOMAINS", default=[])
OIDC_SECOND_FACTOR = env.bool("PAIRLOOP_OIDC_SECOND_FACTOR", False)
EMAIL_URL = env.str("PAIRLOOP_EMAIL_URL", "")
EMAIL_FROM = env.str("PAIRLOOP_EMAIL_FROM", "")
TIME_ZONE = env.str("PAIRLOOP_TIME_ZONE", "UTC")

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_otp",
    "django_otp.plugins.otp_totp",
    "django_otp.plugins.otp_static",
    "django_htmx",
    "template_partials.apps.SimpleAppConfig",
    "rest_framework",
    "drf_spectacular",
    "annotate",
    "training",
]
MIDDLEWARE = [
    "annotate.monitoring.prometheus_page.RequestTimes",
    "django.middleware.security.SecurityMiddleware",
    "config.middleware.CompressedFiles",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "config.middleware.SecurityHeaders",
    "annotate.api.protocol.problem_details.ProblemDetails",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "annotate.people.session_store.Authentication",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "annotate.views.joining.second_factor_page.AskedOfStaff",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "annotate.audit.recording.AuditTrail",
    # The last one: it has to know who asks.
    "annotate.api.protocol.idempotency.IdempotencyKeys",
]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# The partials loader wraps Django's cached loaders; listed by hand because the app that
# would do it at start-up cannot be used together with explicit loaders.
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
            "builtins": [
                "template_partials.templatetags.partials",
                "annotate.templatetags.terms",
            ],
            "loaders": [
                (
                    "template_partials.loader.Loader",
                    [
                        (
                            "django.template.loaders.cached.Loader",
                            [
                                "django.template.loaders.filesystem.Loader",
                                "django.template.loaders.app_directories.Loader",
                            ],
                        )
                    ],
                )
            ],
        },
    }
]

SQLITE_OPTIONS = {
    # IMMEDIATE: a transaction that starts by reading and then writes would otherwise
    # fail with "database is locked", which no busy timeout heals.
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    "init_command": (
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; "
        "PRAGMA cache_size=-16000; PRAGMA journal_size_limit=67108864"
    ),
}
POSTGRES_OPTIONS = {
    # Statements of votes are prepared (annotate.statements.prepared); those of the ORM never are.
    "prepare_threshold": 0,
    "pool": {"min_size": 1, "max_size": THREADS + 2, "timeout": 10},
    "options": "-c statement_timeout=30s -c lock_timeout=5s "
    "-c idle_in_transaction_session_timeout=60s",
}


def database() -> dict[str, object]:
    """Read DATABASE_URL; the default is SQLite in PAIRLOOP_HOME."""
    url = env.str("DATABASE_URL", "") or f"sqlite:///{HOME / 'db.sqlite3'}"
    config = environ.Env.db_url_config(url)
    if config["ENGINE"] == "django.db.backends.sqlite3":
        return {**config, "OPTIONS": SQLITE_OPTIONS, "CONN_MAX_AGE": None}
    return {
        **config,
        "OPTIONS": {**config.get("OPTIONS", {}), **POSTGRES_OPTIONS},
        "ENGINE": "config.postgresql",
        "CONN_MAX_AGE": 0,
    }


DATABASES = {"default": database()}

STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
# Served as they lie in the clone, without a collectstatic step. Age 0 makes browsers ask whether a
# file is still the same, so that an upgrade never meets an old script.
WHITENOISE_USE_FINDERS = True
WHITENOISE_MAX_AGE = 0

LANGUAGE_CODE = "en"
USE_I18N = False
USE_TZ = True

LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "projects"
LOGOUT_REDIRECT_URL = "login"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
OTP_TOTP_ISSUER = "Pairloop"
# Wrong codes count as wrong passwords do, in one place (annotate.views.joining.sign_in_limits), by
# which no stranger can lock somebody out.
OTP_TOTP_THROTTLE_FACTOR = OTP_STATIC_THROTTLE_FACTOR = 0
PASSWORD_RESET_TIMEOUT = 24 * 3600
SESSION_ENGINE = "annotate.people.session_store"
SESSION_COOKIE_AGE = 14 * 24 * 3600
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_HTTPONLY = True
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024
FILE_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024

if HTTPS:
    SECURE_SSL_REDIRECT = True
    SECURE_HSTS_SECONDS = 31536000
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True
    CSRF_TRUSTED_ORIGINS = [
        f"https://{host}" for host in env.list("ALLOWED_HOSTS", default=[]) if host != "*"
    ]
if TRUST_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

# Without a server nothing is mailed, and pages that could mail do not offer it.
vars().update(environ.Env.email_url_config(EMAIL_URL or "dummymail://"))
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = EMAIL_FROM

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "annotate.api.authentication.HashedTokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": [
        "rest_framework.permissions.IsAuthenticated",
        "annotate.api.authentication.WithinToken",
    ],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PAGINATION_CLASS": "annotate.api.pagination.NewestFirst",
    "DEFAULT_PARSER_CLASSES": ["annotate.api.json_parser.StrictJSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_THROTTLE_CLASSES": ["rest_framework.throttling.ScopedRateThrottle"],
    "EXCEPTION_HANDLER": "annotate.api.exceptions.handle",
    # With an override, ?format= would choose a renderer and answer 404 to our own ?format=trl.
    "URL_FORMAT_OVERRIDE": None,
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Pairloop",
    "DESCRIPTION": "Human-preference annotation and active learning that closes the loop.",
    "VERSION": "1",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVERS": [{"url": "/"}],
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "annotate.api.protocol.openapi_answers.complete",
    ],
    "ENUM_NAME_OVERRIDES": {
        "ImportState": "annotate.jobs.import_actions.STAGES",
        "RunState": "training.models.run.Run.State",
        "JobState": "annotate.models.job.Job.State",
        "PairState": "annotate.models.pair.Pair.State",
        "PairKind": "annotate.models.pair.Pair.Kind",
        "Stream": "annotate.models.pair.Pair.Stream",
        "Choice": "annotate.models.assignment.Choice",
        "ScreenChoice": "annotate.api.serializers.SCREEN_CHOICES",
        "FlagKind": "annotate.models.review.Flag.Kind",
        "JobKind": "annotate.api.resources.job_list.KINDS",
        "MemberRole": "annotate.models.roles.Role",
        "AiAnnotatorKind": "annotate.models.ai_annotators.ai_annotator.AiAnnotator.Kind",
    },
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    # Huey reports every periodic task; the record of what ran is in the database.
    "loggers": {"huey": {"level": "WARNING"}},
}
