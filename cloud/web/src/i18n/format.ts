// Numbers, units, dates and ages as the reader writes them. Speeds are shown in km/h; times in the reader's zone.

export class Formats {
  private readonly number0: Intl.NumberFormat;
  private readonly number1: Intl.NumberFormat;
  private readonly clock: Intl.DateTimeFormat;
  private readonly clockSeconds: Intl.DateTimeFormat;
  private readonly dateTime: Intl.DateTimeFormat;
  private readonly relative: Intl.RelativeTimeFormat;

  constructor(
    readonly locale: string,
    readonly timeZone?: string,
  ) {
    const zone = timeZone === undefined ? {} : { timeZone };
    this.number0 = new Intl.NumberFormat(locale, { maximumFractionDigits: 0 });
    this.number1 = new Intl.NumberFormat(locale, { maximumFractionDigits: 1, minimumFractionDigits: 1 });
    this.clock = new Intl.DateTimeFormat(locale, { hour: '2-digit', minute: '2-digit', ...zone });
    this.clockSeconds = new Intl.DateTimeFormat(locale, { hour: '2-digit', minute: '2-digit', second: '2-digit', ...zone });
    this.dateTime = new Intl.DateTimeFormat(locale, { dateStyle: 'medium', timeStyle: 'medium', ...zone });
    this.relative = new Intl.RelativeTimeFormat(locale, { numeric: 'always', style: 'short' });
  }

  integer(value: number): string {
    return this.number0.format(value);
  }

  decimal(value: number): string {
    return this.number1.format(value);
  }

  /** From m/s, as a number of km/h without the unit. */
  speedNumber(mps: number): string {
    return this.number0.format(mps * 3.6);
  }

  speed(mps: number): string {
    return `${this.speedNumber(mps)} km/h`;
  }

  distance(metres: number): string {
    if (metres < 1_000) return `${this.number0.format(metres)} m`;
    const kilometres = metres / 1_000;
    return `${kilometres < 100 ? this.number1.format(kilometres) : this.number0.format(kilometres)} km`;
  }

  /** Hours and minutes. */
  time(ms: number): string {
    return this.clock.format(ms);
  }

  timeWithSeconds(ms: number): string {
    return this.clockSeconds.format(ms);
  }

  full(ms: number): string {
    return this.dateTime.format(ms);
  }

  /** `12 s ago`, in the largest unit that says enough. */
  age(ms: number): string {
    const seconds = Math.max(0, Math.round(ms / 1_000));
    if (seconds < 90) return this.relative.format(-seconds, 'second');
    const minutes = Math.round(seconds / 60);
    if (minutes < 90) return this.relative.format(-minutes, 'minute');
    const hours = Math.round(minutes / 60);
    if (hours < 36) return this.relative.format(-hours, 'hour');
    const days = Math.round(hours / 24);
    if (days < 60) return this.relative.format(-days, 'day');
    return days < 700 ? this.relative.format(-Math.round(days / 30.4), 'month') : this.relative.format(-Math.round(days / 365.25), 'year');
  }

  zoneName(): string {
    return this.timeZone ?? Intl.DateTimeFormat().resolvedOptions().timeZone;
  }
}

const POINTS = {
  en: ['N', 'NE', 'E', 'SE', 'S', 'SW', 'W', 'NW'],
  es: ['N', 'NE', 'E', 'SE', 'S', 'SO', 'O', 'NO'],
} as const;

/** `NW` of 315°. */
export function compassPoint(degrees: number, language: 'en' | 'es'): string {
  return POINTS[language][Math.round((((degrees % 360) + 360) % 360) / 45) % 8] ?? 'N';
}
